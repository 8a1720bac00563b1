import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { errnoOf } from '../lib/process/system-error.js';

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export type PinnedFile = {
  readonly identity: string;
  readonly size_bytes: number;
  /** Inode, length and time of the last change, which attributes count as. */
  readonly state: string;
};

/**
 * An open folder. Names are looked up in it and nowhere else, whatever its path leads to meanwhile: names are single components, and symbolic links are not
 * followed.
 */
export class PinnedFolder {
  private constructor(private readonly handle: FileHandle) {}

  /** @param path trusted, such as one from the settings */
  static async open(path: string): Promise<PinnedFolder> {
    return new PinnedFolder(await open(path, constants.O_RDONLY | constants.O_DIRECTORY));
  }

  get descriptor(): number {
    return this.handle.fd;
  }

  async names(): Promise<readonly string[]> {
    return readdir(this.place());
  }

  /** null: there is none; it may have gone, or be of another kind. */
  async folder(name: string): Promise<PinnedFolder | null> {
    const handle = await this.handleOf(name, FOLDER);
    return handle === null ? null : new PinnedFolder(handle);
  }

  /** A regular file with this one name. null: there is none. @throws Error for a file with further names, by which another folder could lead to it */
  async file(name: string): Promise<PinnedFile | null> {
    return this.withFile(name, (_, found) => Promise.resolve(found));
  }

  /** UTF-8. null: there is none, or it is longer. @throws as file */
  async text(name: string, maxBytes: number): Promise<{ readonly text: string; readonly file: PinnedFile } | null> {
    return this.withFile(name, async (handle, file) => (file.size_bytes > maxBytes ? null : { text: await handle.readFile('utf8'), file }));
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async withFile<Result>(name: string, work: (handle: FileHandle, file: PinnedFile) => Promise<Result>): Promise<Result | null> {
    const handle = await this.handleOf(name, FILE);
    if (handle === null) return null;
    try {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) return null;
      if (stats.nlink !== 1n) throw new Error(`"${name}" has ${stats.nlink} names; a file of a restore point has one`);
      const identity = `${stats.dev}:${stats.ino}`;
      return await work(handle, { identity, size_bytes: Number(stats.size), state: `${identity}:${stats.size}:${stats.ctimeNs}` });
    } finally {
      await handle.close();
    }
  }

  private async handleOf(name: string, flags: number): Promise<FileHandle | null> {
    if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) throw new Error('a name is a single component');
    try {
      return await open(`${this.place()}/${name}`, flags);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(errnoOf(error) ?? '')) return null;
      throw error;
    }
  }

  private place(): string {
    return `/proc/self/fd/${this.handle.fd}`;
  }
}
