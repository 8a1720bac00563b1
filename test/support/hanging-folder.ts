import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './hub-system.js';

const run = promisify(execFile);

/** What `HangingFolder` needs. */
export const HANGING_FOLDER_TOOLS = ['mkfs.ntfs', 'ntfs-3g', 'fusermount3'] as const;

/** A folder on a file system of its own whose server can be stopped, as that of an NFS mount goes away: every call to it then hangs until the server goes on. */
export class HangingFolder {
  private constructor(
    readonly path: string,
    private readonly server: ChildProcess,
  ) {}

  /** @param place a folder in which the file system's image and the mount point are made */
  static async make(place: string, name: string, mib: number): Promise<HangingFolder> {
    const [image, path] = [join(place, `${name}.img`), join(place, name)];
    await mkdir(path, { recursive: true });
    await writeFile(image, '');
    await truncate(image, mib * 1024 * 1024);
    await run('mkfs.ntfs', ['--force', '--quick', '--quiet', image]);
    const { dev } = await stat(path);
    const server = spawn('ntfs-3g', ['-o', 'no_detach,permissions', image, path], { stdio: 'ignore' });
    await until('the file system', async () => (await stat(path)).dev !== dev);
    return new HangingFolder(path, server);
  }

  hang(): void {
    this.server.kill('SIGSTOP');
  }

  answer(): void {
    this.server.kill('SIGCONT');
  }

  /** Whatever still hangs in it is answered with an error. */
  async remove(): Promise<void> {
    const ended = once(this.server, 'exit');
    this.answer();
    await run('fusermount3', ['-u', '-z', this.path]).catch(() => undefined);
    this.server.kill('SIGTERM');
    await ended;
  }
}
