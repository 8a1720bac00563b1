import { execFile } from 'node:child_process';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireSameContent } from './image-vm.js';
import type { LibvirtHost } from './libvirt-host.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;

export interface BareDisk {
  readonly target: string;
  readonly mib: number;
  /** Default qcow2. */
  readonly format?: 'qcow2' | 'raw';
}

/**
 * A libvirt domain without an operating system: it is up at once, and what its guest would write the test writes, through qemu's own block devices. Beside every disk lies a
 * plain copy to which the same is written, so that the content at any instant is known.
 */
export class BareDomain {
  private disks: readonly BareDisk[];
  private pattern = 0;

  private constructor(
    private readonly host: LibvirtHost,
    readonly name: string,
    readonly uuid: string,
    disks: readonly BareDisk[],
  ) {
    this.disks = disks;
  }

  static async create(host: LibvirtHost, name: string, uuid: string, disks: readonly BareDisk[]): Promise<BareDomain> {
    const domain = new BareDomain(host, name, uuid, disks);
    for (const disk of disks) await domain.makeFiles(disk);
    await domain.define();
    return domain;
  }

  /** @param changes further devices and elements, put among the devices */
  async define(changes: { readonly name?: string; readonly devices?: string } = {}): Promise<void> {
    const disks = this.disks.map((disk) => this.diskXml(disk));
    await this.host.define(
      `<domain type="qemu"><name>${changes.name ?? this.name}</name><uuid>${this.uuid}</uuid><memory unit="MiB">32</memory><vcpu>1</vcpu>` +
        `<os><type arch="x86_64" machine="q35">hvm</type></os><features><acpi/></features><on_reboot>destroy</on_reboot>` +
        `<devices>${disks.join('')}${changes.devices ?? ''}</devices></domain>`,
    );
  }

  get allDisks(): readonly BareDisk[] {
    return this.disks;
  }

  path(target: string): string {
    return join(this.host.disks, `${this.name}-${target}.${this.disk(target).format ?? 'qcow2'}`);
  }

  async start(): Promise<void> {
    await this.host.virsh('start', this.uuid);
  }

  /** As if the plug were pulled from the guest; qemu ends properly. */
  async powerOff(): Promise<void> {
    await this.host.virsh('destroy', this.uuid);
  }

  /** Writes a run of one byte that was not written before; by qemu itself, or, while the domain is off, as another run of it would. */
  async write(target: string, offsetMib: number, mib = 1): Promise<void> {
    this.pattern = (this.pattern % 254) + 1;
    const command = `write -P ${this.pattern} ${offsetMib * MIB} ${mib * MIB}`;
    const running = (await this.host.virsh('domstate', this.uuid)).trim() === 'running';
    if (running) {
      const devices = await this.host.qmp<readonly { readonly qdev?: string; readonly inserted?: { readonly file: string } }[]>(this.uuid, 'query-block');
      const device = devices.find(({ inserted }) => inserted !== undefined && inserted.file.includes(this.path(target)))?.qdev;
      const said = await this.host.monitor(this.uuid, `qemu-io -d ${device ?? target} "${command}"`);
      if (said.trim() !== '') throw new Error(`writing to ${target}: ${said}`);
    } else {
      await run('qemu-io', ['-f', this.disk(target).format ?? 'qcow2', '-c', command, this.path(target)]);
    }
    await run('qemu-io', ['-f', 'raw', '-c', command, this.plain(target)]);
  }

  /** What was written lies in the files afterwards, whatever becomes of qemu. */
  async flush(): Promise<void> {
    const blocks = await this.host.qmp<readonly { readonly qdev?: string }[]>(this.uuid, 'query-block');
    for (const { qdev } of blocks) if (qdev !== undefined) await this.host.monitor(this.uuid, `qemu-io -d ${qdev} "flush"`);
  }

  /** Copies of what every disk holds now. */
  async instant(): Promise<ReadonlyMap<string, string>> {
    this.pattern = (this.pattern % 254) + 1;
    const copies = new Map<string, string>();
    for (const { target } of this.disks) {
      const copy = join(this.host.disks, `${this.name}-${target}-${copies.size}-${performance.now()}.copy`);
      await copyFile(this.plain(target), copy);
      copies.set(target, copy);
    }
    return copies;
  }

  /** Another disk; known to libvirt by `define`, or by `attach` while the domain runs. */
  async addDisk(disk: BareDisk): Promise<void> {
    this.disks = [...this.disks, disk];
    await this.makeFiles(disk);
  }

  async attach(target: string): Promise<void> {
    await this.host.virshWith(['attach-device', this.uuid, '--persistent'], this.diskXml(this.disk(target)));
  }

  forgetDisk(target: string): void {
    this.disks = this.disks.filter((disk) => disk.target !== target);
  }

  /** The disk was made larger; so is its plain copy. */
  async resizePlain(target: string, mib: number): Promise<void> {
    await run('qemu-img', ['resize', '-q', '-f', 'raw', this.plain(target), `${mib}M`]);
  }

  /** The disks hold again what they held then; so do their plain copies. */
  async revertPlain(instant: ReadonlyMap<string, string>): Promise<void> {
    for (const [target, copy] of instant) await copyFile(copy, this.plain(target));
  }

  /** What a qemu that was killed had not flushed is lost; the plain copies lose it too. */
  async rereadPlain(): Promise<void> {
    for (const { target, format = 'qcow2' } of this.disks) await run('qemu-img', ['convert', '-f', format, '-O', 'raw', this.path(target), this.plain(target)]);
  }

  async remove(): Promise<void> {
    if ((await this.host.virsh('domstate', this.uuid)).trim() === 'running') await this.powerOff();
    await this.host.virsh('undefine', this.uuid, '--checkpoints-metadata');
  }

  /** Names of our bitmaps that are stored in the disk's file. */
  async storedBitmaps(target: string): Promise<readonly string[]> {
    const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', this.path(target)]);
    const info = JSON.parse(stdout) as { readonly 'format-specific'?: { readonly data?: { readonly bitmaps?: readonly { readonly name: string }[] } } };
    return (info['format-specific']?.data?.bitmaps ?? []).map(({ name }) => name);
  }

  async makeFiles(disk: BareDisk): Promise<void> {
    await rm(this.path(disk.target), { force: true });
    await run('qemu-img', ['create', '-q', '-f', disk.format ?? 'qcow2', this.path(disk.target), `${disk.mib}M`]);
    await run('qemu-img', ['create', '-q', '-f', 'raw', this.plain(disk.target), `${disk.mib}M`]);
  }

  private plain(target: string): string {
    return join(this.host.disks, `${this.name}-${target}.plain`);
  }

  private disk(target: string): BareDisk {
    const disk = this.disks.find((one) => one.target === target);
    if (disk === undefined) throw new Error(`${this.name} has no disk ${target}`);
    return disk;
  }

  private diskXml({ target, format = 'qcow2' }: BareDisk): string {
    return `<disk type="file" device="disk"><driver name="qemu" type="${format}"/><source file="${this.path(target)}"/><target dev="${target}" bus="virtio"/></disk>`;
  }
}

/** Every disk of a restore point holds what was there at the instant. */
export async function requireInstant(
  disks: readonly { readonly disk_key: string; readonly qcow2_path: string | null }[],
  copies: ReadonlyMap<string, string>,
): Promise<void> {
  for (const disk of disks) await requireSameContent(copies.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
}
