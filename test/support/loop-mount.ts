import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type LoopFileSystem = 'ext4' | 'xfs' | 'btrfs';

/** Options that let mkfs make a small file system without a word. */
const MKFS: Readonly<Record<LoopFileSystem, readonly string[]>> = { ext4: ['-q', '-m', '0'], xfs: ['-q', '-m', 'reflink=1'], btrfs: ['-q'] };

/** A file system of its own, mounted from a file; whoever made it takes it down again. */
export class LoopMount {
  private constructor(
    readonly path: string,
    private readonly device: string,
  ) {}

  /** @param directory what image file and mount point are made in @param mib size of the file system */
  static async create(directory: string, mib: number, type: LoopFileSystem = 'ext4'): Promise<LoopMount> {
    const image = join(directory, `${type}-${mib}.img`);
    const path = join(directory, `${type}-${mib}`);
    await mkdir(path, { recursive: true });
    await run('truncate', ['-s', `${mib}M`, image]);
    await run(`mkfs.${type}`, [...MKFS[type], image]);
    const { stdout } = await run('losetup', ['--find', '--show', image]);
    const mount = new LoopMount(path, stdout.trim());
    try {
      await run('mount', [mount.device, path]);
    } catch (error) {
      await run('losetup', ['--detach', mount.device]);
      throw error;
    }
    return mount;
  }

  async remount(mode: 'ro' | 'rw'): Promise<void> {
    await run('mount', ['-o', `remount,${mode}`, this.path]);
  }

  async unmount(): Promise<void> {
    await run('umount', [this.path]);
  }

  async mountAgain(): Promise<void> {
    await run('mount', [this.device, this.path]);
  }

  async remove(): Promise<void> {
    await run('umount', ['--lazy', this.path]).catch(() => undefined);
    await run('losetup', ['--detach', this.device]).catch(() => undefined);
  }
}
