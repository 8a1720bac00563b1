import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MIB = 1024 * 1024;

export interface NewDisk {
  readonly file: string;
  readonly mib: number;
  /** Random data at the start of the disk, in MiB. Default 2. */
  readonly dataMib?: number;
  /** Default qcow2. */
  readonly format?: 'qcow2' | 'raw';
}

/** A powered-off VM: a folder of disk images with random data, and copies of what they held at some instant. */
export class ImageVm {
  private copies = 0;

  private constructor(
    readonly folder: string,
    private readonly formats: Map<string, 'qcow2' | 'raw'>,
  ) {}

  static async create(folder: string, disks: readonly NewDisk[]): Promise<ImageVm> {
    await mkdir(folder, { recursive: true });
    const vm = new ImageVm(folder, new Map());
    for (const disk of disks) await vm.addDisk(disk);
    return vm;
  }

  async addDisk({ file, mib, dataMib = 2, format = 'qcow2' }: NewDisk): Promise<void> {
    this.formats.set(file, format);
    await run('qemu-img', ['create', '-q', '-f', format, this.path(file), `${mib}M`]);
    await this.write(file, 0, dataMib * MIB);
  }

  /** Each file gets the other's name. */
  async exchange(one: string, other: string): Promise<void> {
    await rename(this.path(one), this.path('aside'));
    await rename(this.path(other), this.path(one));
    await rename(this.path('aside'), this.path(other));
  }

  async removeDisk(file: string): Promise<void> {
    this.formats.delete(file);
    await rm(this.path(file));
  }

  path(file: string): string {
    return join(this.folder, file);
  }

  /** Random bytes, written as a running guest would have: through qemu, so that bitmaps record them. */
  async write(file: string, offset: number, bytes: number): Promise<void> {
    // qemu-io cannot quote: the name must have no spaces.
    const directory = await mkdtemp(join(tmpdir(), 'sendense-random-'));
    try {
      await writeRandom(join(directory, 'data'), bytes);
      await run('qemu-io', ['-f', this.format(file), '-c', `write -s ${join(directory, 'data')} ${offset} ${bytes}`, this.path(file)]);
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  async resize(file: string, mib: number): Promise<void> {
    await run('qemu-img', ['resize', '-q', '--shrink', '-f', this.format(file), this.path(file), `${mib}M`]);
  }

  async bitmaps(file: string): Promise<string[]> {
    const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', this.path(file)]);
    const info = JSON.parse(stdout) as { 'format-specific'?: { data?: { bitmaps?: { name: string }[] } } };
    return (info['format-specific']?.data?.bitmaps ?? []).map(({ name }) => name).sort();
  }

  async removeBitmap(file: string, name: string): Promise<void> {
    await run('qemu-img', ['bitmap', '--remove', '-f', 'qcow2', this.path(file), name]);
  }

  /** What every disk holds now, in raw files beside the folder of the image roots. */
  async copyTo(directory: string): Promise<ReadonlyMap<string, string>> {
    await mkdir(directory, { recursive: true });
    const copies = new Map<string, string>();
    for (const file of this.formats.keys()) {
      const copy = join(directory, `copy-${this.copies++}.raw`);
      await run('qemu-img', ['convert', '-f', this.format(file), '-O', 'raw', this.path(file), copy]);
      copies.set(file, copy);
    }
    return copies;
  }

  private format(file: string): string {
    return this.formats.get(file) ?? 'qcow2';
  }
}

/** @throws Error with what qemu-img says when the contents differ */
export async function requireSameContent(rawCopy: string, restorePoint: string): Promise<void> {
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', rawCopy, restorePoint]);
}

async function writeRandom(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (let left = bytes; left > 0; left -= MIB) await file.write(randomBytes(Math.min(MIB, left)));
  } finally {
    await file.close();
  }
}
