import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BootKit, makeBootKit } from './boot-kit.js';
import { until } from './hub-system.js';
import type { LibvirtHost } from './libvirt-host.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** A guest without KVM on a loaded machine. */
const BOOT_PATIENCE_MS = 180_000;

export interface GuestDisk {
  /** `vda`, `sda`, ...; which bus it hangs on follows from the letter. */
  readonly target: string;
  readonly mib: number;
  /** Default qcow2. */
  readonly format?: 'qcow2' | 'raw';
  /** Random data at the start, in MiB. Default 0. */
  readonly dataMib?: number;
  /** An ext4 file system over the whole disk, instead of random data. */
  readonly ext4?: boolean;
}

export interface NewLiveGuest {
  readonly name: string;
  readonly disks: readonly GuestDisk[];
  /** What the guest does once it is up, in busybox's shell. Default: nothing. */
  readonly script?: string;
  /** Whether the guest agent runs in it. Default false. */
  readonly agent?: boolean;
  readonly memoryMib?: number;
}

/** What the console shows when the guest's own script begins. */
const READY = 'guest is ready';

/**
 * Disks, modules and the agent come up, then the guest's own script runs. The agent's folder is where it remembers what it has frozen. `shutdown` is what the agent
 * calls to power the guest off.
 */
const INIT = `
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /mnt /var/run /usr/var/run /usr/local/var/run /etc
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod $module; done
if [ -x /usr/sbin/qemu-ga ]; then
  while ! grep -qs org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name; do usleep 50000; done
  port=$(grep -l org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name | cut -d/ -f5)
  /usr/sbin/qemu-ga --method=virtio-serial --path=/dev/$port --statedir=/run --daemonize
fi
echo ${READY}
/bin/sh /guest
while :; do sleep 3600; done
`;

/**
 * Writes 1, 2, 3, ... to the first and the last sector of disk A, flushes, then to those of disk B, flushes, and so on. At any one instant therefore, at the first
 * sectors as at the last: B <= A <= B + 1. The last sectors are read late in a backup, and show whether it still reads the same instant.
 */
export function sequenceWriter(diskA: GuestDisk, diskB: GuestDisk): string {
  const write = (disk: GuestDisk): string => `printf '%-511d\\n' $n >/tmp/sector
  dd if=/tmp/sector of=/dev/${disk.target} bs=512 oflag=direct conv=notrunc,fsync 2>/dev/null
  dd if=/tmp/sector of=/dev/${disk.target} bs=512 seek=${lastSector(disk)} oflag=direct conv=notrunc,fsync 2>/dev/null
`;
  return `n=0
while :; do
  n=$((n+1))
  ${write(diskA)}  ${write(diskB)}  echo sequence $n
done
`;
}

/** What the sequence writer has left on a disk, from a raw or qcow2 file. 0 before its first write. */
export async function readSequence(file: string, disk: GuestDisk): Promise<{ readonly first: number; readonly last: number }> {
  const at = async (sector: number): Promise<number> => {
    const { stdout } = await run('qemu-io', ['-r', '-U', '-c', `read -v ${sector * 512} 512`, file]);
    const bytes = [...stdout.matchAll(/^[0-9a-f]{8}: {2}((?:[0-9a-f]{2} ){16})/gm)].flatMap((line) => (line[1] ?? '').trim().split(' '));
    const number = Number(String.fromCharCode(...bytes.slice(0, 16).map((byte) => Number.parseInt(byte, 16))).replaceAll('\0', ''));
    if (bytes.length !== 512 || !Number.isInteger(number)) throw new Error(`sector ${sector} of ${file} holds no number`);
    return number;
  };
  return { first: await at(0), last: await at(lastSector(disk)) };
}

function lastSector(disk: GuestDisk): number {
  return (disk.mib * MIB) / 512 - 1;
}

/**
 * Writes files into the ext4 of a disk, each named by its own checksum, and deletes older ones, and writes down each step in a journal: `+ SUM` when a file is
 * there for good, `- SUM` before it goes. Every step is flushed before the next. So at any instant the disk itself says what it must hold (`contentOf`).
 * Blocks of deleted files are discarded, and written again with other content.
 */
export function checksummedLoad(disk: GuestDisk): string {
  return `mount -t ext4 -o discard /dev/${disk.target} /mnt || echo no file system
cd /mnt
mkdir -p files
touch journal
n=$(grep -c + journal)
while :; do
  n=$((n+1))
  dd if=/dev/urandom of=new bs=1024 count=$((n * 37 % 300 + 1)) conv=fsync 2>/dev/null
  sum=$(sha256sum new | cut -d' ' -f1)
  mv new files/$sum
  sync
  echo "+ $sum" >>journal
  sync
  # Fewer at first, then as many as it writes, so that the disk never becomes full however long it goes on.
  if [ $((n % 3)) = 0 ] || [ $n -gt 100 ]; then
    old=$(ls files | head -n 1)
    echo "- $old" >>journal
    sync
    rm files/$old
  fi
  echo written $n
done
`;
}

export interface GuestContent {
  /** Files that the guest had written for good. */
  readonly written: number;
  /** What is wrong with the content, which must be nothing. */
  readonly faults: readonly string[];
}

/** Judges a disk of `checksummedLoad`, a raw file that nobody needs afterwards: after a replay of its journal, which any crash asks for, it must be without a fault. */
export async function contentOf(rawFile: string): Promise<GuestContent> {
  const faults: string[] = [];
  await run('e2fsck', ['-E', 'journal_only', '-y', rawFile]).catch(() => undefined);
  await run('e2fsck', ['-f', '-n', rawFile]).catch((error: unknown) => faults.push(`e2fsck: ${outputOf(error)}`));
  const folder = `${rawFile}.content`;
  await mkdir(folder);
  try {
    await run('debugfs', ['-R', `rdump / ${folder}`, rawFile], { maxBuffer: 64 * MIB });
    const present = new Set<string>();
    let written = 0;
    // A step that was being written down has no end of line yet.
    for (const line of (await readFile(join(folder, 'journal'), 'utf8')).split('\n').slice(0, -1)) {
      const [sign, sum] = line.split(' ');
      if (sum?.length !== 64 || (sign !== '+' && sign !== '-')) faults.push(`the journal says ${JSON.stringify(line)}`);
      else if (sign === '+') present.add(sum);
      else present.delete(sum);
      if (sign === '+') written += 1;
    }
    for (const name of await readdir(join(folder, 'files'))) {
      const sum = createHash('sha256')
        .update(await readFile(join(folder, 'files', name)))
        .digest('hex');
      if (sum !== name) faults.push(`file ${name} has the checksum ${sum}`);
      present.delete(name);
    }
    for (const name of present) faults.push(`file ${name} is missing`);
    return { written, faults };
  } finally {
    await rm(folder, { recursive: true });
  }
}

function outputOf(error: unknown): string {
  return error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error);
}

/** Where restored VMs may have kernels from, as the host's libvirt sees it. */
async function placed(kit: BootKit, host: LibvirtHost, name: string): Promise<BootKit> {
  const folder = join(host.directory, 'lib/boot');
  const prefix = name.replaceAll(/[^\w.+-]/g, '_');
  await mkdir(folder, { recursive: true });
  await copyFile(kit.kernel, join(folder, `${prefix}-kernel`));
  await copyFile(kit.initrd, join(folder, `${prefix}-initrd`));
  return { kernel: `/var/lib/libvirt/boot/${prefix}-kernel`, initrd: `/var/lib/libvirt/boot/${prefix}-initrd` };
}

/** A virtual machine with Debian's cloud kernel and busybox, which boots in seconds without KVM. */
export class LiveGuest {
  private constructor(
    private readonly host: LibvirtHost,
    readonly name: string,
    readonly disks: readonly GuestDisk[],
    private readonly kit: BootKit,
    private readonly options: NewLiveGuest,
  ) {}

  /** Defines the guest and its disks; it is powered off. @returns null without kernel or busybox, as `makeBootKit` */
  static async create(host: LibvirtHost, options: NewLiveGuest): Promise<LiveGuest | null> {
    const agent = options.agent === true;
    const kit = await makeBootKit(join(host.directory, `boot-${options.name}`), INIT, {
      modules: ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', ...(agent ? ['virtio_console'] : [])],
      programs: agent ? ['/usr/sbin/qemu-ga'] : [],
      files: { guest: options.script ?? '', ...(agent ? { 'sbin/shutdown': '#!/bin/sh\nexec poweroff -f\n' } : {}) },
    });
    if (kit === null) return null;
    const guest = new LiveGuest(host, options.name, options.disks, await placed(kit, host, options.name), options);
    for (const disk of options.disks) await guest.makeDisk(disk);
    await host.define(guest.xml());
    return guest;
  }

  path(target: string): string {
    return join(this.host.disks, `${this.name}-${target}.img`);
  }

  /** Makes the file of a disk anew. */
  async makeDisk(disk: GuestDisk): Promise<void> {
    const raw = `${this.path(disk.target)}.raw`;
    await run('truncate', ['-s', `${disk.mib}M`, raw]);
    if (disk.ext4 === true) await run('mkfs.ext4', ['-q', '-F', raw]);
    else if ((disk.dataMib ?? 0) > 0) await run('dd', ['if=/dev/urandom', `of=${raw}`, 'bs=1M', `count=${disk.dataMib}`, 'conv=notrunc', 'status=none']);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', disk.format ?? 'qcow2', raw, this.path(disk.target)]);
    await rm(raw);
  }

  /** The definition, with other disks or another name where asked. */
  xml(changes: { readonly disks?: readonly GuestDisk[]; readonly name?: string; readonly uuid?: string } = {}): string {
    const disks = changes.disks ?? this.disks;
    const agent =
      this.options.agent === true
        ? `<controller type='virtio-serial' index='0'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`
        : '';
    return `<domain type='qemu'>
  <name>${changes.name ?? this.name}</name>
  ${changes.uuid === undefined ? '' : `<uuid>${changes.uuid}</uuid>`}
  <memory unit='MiB'>${this.options.memoryMib ?? 192}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${this.kit.kernel}</kernel>
    <initrd>${this.kit.initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1</cmdline>
  </os>
  <features><acpi/></features>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    ${disks.some(({ target }) => target.startsWith('sd')) ? `<controller type='scsi' model='virtio-scsi'/>` : ''}
    ${disks.map((disk) => this.diskXml(disk)).join('\n    ')}
    <serial type='file'><source path='${this.consoleFile}'/></serial>
    <console type='file'><source path='${this.consoleFile}'/></console>
    ${agent}
    <memballoon model='none'/>
  </devices>
</domain>`;
  }

  diskXml(disk: GuestDisk): string {
    return `<disk type='file' device='disk'><driver name='qemu' type='${disk.format ?? 'qcow2'}' discard='unmap'/><source file='${this.path(disk.target)}'/><target dev='${disk.target}' bus='${disk.target.startsWith('sd') ? 'scsi' : 'virtio'}'/></disk>`;
  }

  /** Powers the guest on and waits until its own script begins. */
  async boot(): Promise<void> {
    await rm(this.consoleFile, { force: true });
    await this.host.virsh('start', this.name);
    await until(`${this.name} to boot`, async () => (await this.console()).includes(READY), BOOT_PATIENCE_MS).catch(async (error: unknown) => {
      throw new Error(`its console shows ${await this.console()}`, { cause: error });
    });
  }

  /** Pulls the plug. What qemu itself does at its end, such as writing bitmaps, it does. */
  async powerOff(): Promise<void> {
    await this.host.virsh('destroy', '--graceful', this.name);
  }

  async console(): Promise<string> {
    return readFile(this.consoleFile, 'utf8').catch(() => '');
  }

  /** The last number that the guest has told behind this word, as `sequence` and `written`; 0 before the first. */
  async told(word: 'sequence' | 'written'): Promise<number> {
    const found = [...(await this.console()).matchAll(new RegExp(`^${word} (\\d+)\\r?$`, 'gm'))].at(-1)?.[1];
    return Number(found ?? 0);
  }

  /** Waits until the guest has told a number that is higher by this many. @returns it */
  async tells(word: 'sequence' | 'written', more: number): Promise<number> {
    const before = await this.told(word);
    await until(`${this.name} to go on from ${word} ${before}`, async () => (await this.told(word)) >= before + more, BOOT_PATIENCE_MS);
    return this.told(word);
  }

  private get consoleFile(): string {
    return join(this.host.directory, `console-${this.name}`);
  }
}
