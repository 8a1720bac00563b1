import { createHash, randomBytes } from 'node:crypto';
import { type BigIntStats, constants, createReadStream } from 'node:fs';
import { access, chmod, link, lstat, mkdir, open, readdir, readFile, realpath, rename, rm, rmdir, stat, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { syncToDisk, writeFileDurably } from '../repository-files/durable-write.js';

/** What a name stands for. */
export type FileFacts = {
  readonly kind: 'file' | 'folder' | 'other';
  readonly size_bytes: number;
  /** Nanoseconds since 1970, decimal. */
  readonly mtime_ns: string;
  /** The same for every name of one file on this machine. */
  readonly identity: string;
};

/**
 * Work on files, as plain data, so that another process can be asked for it. All reject with the system's error, whose `code` is ENOENT and the like; paths are absolute.
 */
export interface FileCalls {
  /** Follows symbolic links. */
  stat(path: string): Promise<FileFacts>;
  lstat(path: string): Promise<FileFacts>;
  realpath(path: string): Promise<string>;
  /** Resolves where this program may read, write and pass through the folder. */
  mayWriteIn(folder: string): Promise<void>;
  /** What an unprivileged program may still write, and all there is. */
  space(path: string): Promise<{ readonly free_bytes: number; readonly total_bytes: number }>;
  list(folder: string): Promise<readonly { readonly name: string; readonly is_folder: boolean }[]>;
  readText(path: string): Promise<string>;
  makeFolder(path: string, mode: number): Promise<void>;
  changeMode(path: string, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
  /** Harmless when there is nothing. */
  removeTree(path: string): Promise<void>;
  /** See repository-files/durable-write.ts. */
  syncToDisk(path: string): Promise<void>;
  /** See repository-files/durable-write.ts. */
  writeDurably(path: string, content: string, mode: number): Promise<void>;
  /** Writes, syncs, reads back and removes a small file. @returns whether what was read is what was written */
  tryWriting(folder: string): Promise<boolean>;
  /** Lower-case hex, of the whole file. */
  sha256(path: string): Promise<string>;
}

const PROBE_BYTES = 4096;

/** Done by this process itself, which hangs where the file system does. */
export const DIRECT_CALLS: FileCalls = {
  stat: async (path) => factsOf(await stat(path, { bigint: true })),
  lstat: async (path) => factsOf(await lstat(path, { bigint: true })),
  realpath: async (path) => realpath(path),
  mayWriteIn: async (folder) => access(folder, constants.R_OK | constants.W_OK | constants.X_OK),
  async space(path) {
    const { bavail, blocks, bsize } = await statfs(path);
    return { free_bytes: bavail * bsize, total_bytes: blocks * bsize };
  },
  async list(folder) {
    return (await readdir(folder, { withFileTypes: true })).map((entry) => ({ name: entry.name, is_folder: entry.isDirectory() }));
  },
  readText: async (path) => readFile(path, 'utf8'),
  async makeFolder(path, mode) {
    await mkdir(path, mode);
  },
  changeMode: async (path, mode) => chmod(path, mode),
  rename: async (from, to) => rename(from, to),
  link: async (existing, path) => link(existing, path),
  unlink: async (path) => unlink(path),
  removeFolder: async (path) => rmdir(path),
  removeTree: async (path) => rm(path, { recursive: true, force: true }),
  syncToDisk,
  writeDurably: writeFileDurably,
  tryWriting,
  async sha256(path) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
    return hash.digest('hex');
  },
};

function factsOf(stats: BigIntStats): FileFacts {
  return {
    kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other',
    size_bytes: Number(stats.size),
    mtime_ns: stats.mtimeNs.toString(),
    identity: `${stats.dev}:${stats.ino}`,
  };
}

async function tryWriting(folder: string): Promise<boolean> {
  const content = randomBytes(PROBE_BYTES);
  const file = join(folder, `.sendense-probe-${content.toString('hex', 0, 8)}`);
  let written = false;
  try {
    const handle = await open(file, 'wx', 0o600);
    written = true;
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const same = (await readFile(file)).equals(content);
    if (!same) return false;
    await rm(file);
    written = false;
    return true;
  } finally {
    if (written) await rm(file, { force: true }).catch(() => undefined);
  }
}
