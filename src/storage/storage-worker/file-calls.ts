import { createHash, randomBytes } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import {
  access,
  chmod,
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writeEmptyQcow2 } from '../../lib/qemu/empty-qcow2.js';
import { qcow2InfoOf } from '../../lib/qemu/qcow2-info.reader.js';
import type { ImageInfo } from '../../lib/qemu/qemu-img-output.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { syncToDisk, writeFileDurably } from '../../lib/files/durable-write.js';
import { immutabilityIn, type NamedAttribute } from '../../lib/files/immutable-attribute.js';

/** The file system entry behind a path. */
export type FileFacts = {
  readonly kind: 'file' | 'folder' | 'other';
  readonly size_bytes: number;
  /** Nanoseconds since 1970, decimal. */
  readonly mtime_ns: string;
  /** The same for every name of one file on this machine. */
  readonly identity: string;
};

/** A file to be opened as a QCOW2 image, inspected through one descriptor that follows no symbolic link. */
export type ImageFacts = FileFacts & {
  /** Permission bits. */
  readonly mode: number;
  /** Number of hard links. */
  readonly links: number;
  /** The descriptor's path, with all symbolic links resolved. */
  readonly real_path: string;
  /** Inode, length and both timestamps. It changes with every change of content, and only the file system's owner can restore it. */
  readonly state: string;
  /** Time of the last change of content or attributes, nanoseconds since 1970, decimal. */
  readonly ctime_ns: string;
  /** null: not a QCOW2 image that is fully understood; it may be encrypted, or keep its data in another file. */
  readonly image: ImageInfo | null;
};

/** Error code for a path that is not a regular file, or a file longer than allowed. */
export const NOT_READABLE_AS_FILE = 'EFTYPE';

/**
 * File operations with plain data as arguments and results, so that another process can perform them. All reject with the system's error, whose `code` is
 * ENOENT and the like; paths are absolute.
 */
export interface FileCalls {
  /** Follows symbolic links. */
  stat(path: string): Promise<FileFacts>;
  lstat(path: string): Promise<FileFacts>;
  realpath(path: string): Promise<string>;
  /** Resolves if this program may read, write and enter the directory. */
  mayWriteIn(folder: string): Promise<void>;
  /** Bytes available to unprivileged programs, and in total. */
  space(path: string): Promise<{ readonly free_bytes: number; readonly total_bytes: number }>;
  list(folder: string): Promise<readonly { readonly name: string; readonly is_folder: boolean }[]>;
  /** UTF-8 text of a regular file of at most maxBytes. Follows no symbolic link and waits for no pipe. @throws also NOT_READABLE_AS_FILE */
  readText(path: string, maxBytes: number): Promise<string>;
  /** null when the path is not a regular file. */
  imageFacts(path: string): Promise<ImageFacts | null>;
  makeFolder(path: string, mode: number): Promise<void>;
  /** See writeEmptyQcow2. */
  createImage(path: string, sizeBytes: number, backing: string | null): Promise<void>;
  changeMode(path: string, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
  /** Does nothing when the path does not exist. */
  removeTree(path: string): Promise<void>;
  /** See repository-files/durable-write.ts. */
  syncToDisk(path: string): Promise<void>;
  /** See repository-files/durable-write.ts. */
  writeDurably(path: string, content: string, mode: number): Promise<void>;
  /** Writes, syncs, reads back and removes a small file. @returns whether the data read equals the data written */
  tryWriting(folder: string): Promise<boolean>;
  /**
   * Tries out in files of its own, and removes them: writing and syncing a few MiB, reading them back, renaming over a file, holes, hard links, modes, the owner
   * of new files and the clock. @throws Error when what is read is not what was written
   */
  measure(folder: string): Promise<TrialFacts>;
  /** Lower-case hex, of the whole regular file. Follows no symbolic link. @throws also NOT_READABLE_AS_FILE */
  sha256(path: string): Promise<string>;
  /** Names in the folder, each with whether it is immutable (chattr +i). Those whose attributes the file system does not show are missing. */
  immutability(folder: string): Promise<readonly NamedAttribute[]>;
}

/** What a file system can do, as a trial of it shows. */
export type TrialFacts = {
  readonly holes: boolean;
  readonly hard_links: boolean;
  readonly read_only_mode: boolean;
  readonly owner_kept: boolean;
  readonly clock_skew_ms: number;
  readonly write_bytes_per_second: number;
  readonly read_bytes_per_second: number;
};

export type CallName = keyof FileCalls;

const PROBE_BYTES = 4096;
const TRIAL_BYTES = 8 * 1024 * 1024;

/** Performs the operations in this process, which hangs if the file system does. */
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
  readText: async (path, maxBytes) =>
    withRegularFile(path, async (file) => {
      const { size } = await file.stat();
      if (size > maxBytes) throw notReadable(`the file is longer than ${maxBytes} bytes`);
      return file.readFile('utf8');
    }),
  imageFacts,
  async makeFolder(path, mode) {
    await mkdir(path, mode);
  },
  createImage: writeEmptyQcow2,
  changeMode: async (path, mode) => chmod(path, mode),
  rename: async (from, to) => rename(from, to),
  link: async (existing, path) => link(existing, path),
  unlink: async (path) => unlink(path),
  removeFolder: async (path) => rmdir(path),
  removeTree: async (path) => rm(path, { recursive: true, force: true }),
  syncToDisk,
  writeDurably: writeFileDurably,
  tryWriting,
  measure,
  sha256: async (path) =>
    withRegularFile(path, async (file) => {
      const hash = createHash('sha256');
      await pipeline(file.createReadStream({ highWaterMark: 1024 * 1024, autoClose: false }), hash);
      return hash.digest('hex');
    }),
  immutability: async (folder) => immutabilityIn(folder),
};

/** Checks the type before opening, because opening a device may have side effects, and after it, because the file may have been replaced. */
async function withRegularFile<Result>(path: string, work: (file: FileHandle) => Promise<Result>): Promise<Result> {
  if (!(await lstat(path)).isFile()) throw notReadable('it is not a regular file');
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw notReadable('it is not a regular file');
    return await work(file);
  } finally {
    await file.close();
  }
}

function notReadable(why: string): Error {
  return Object.assign(new Error(why), { code: NOT_READABLE_AS_FILE });
}

async function imageFacts(path: string): Promise<ImageFacts | null> {
  try {
    return await withRegularFile(path, async (file) => {
      const stats = await file.stat({ bigint: true });
      const image = await qcow2InfoOf(file, path).catch((error: unknown) => {
        // A failing file system must not look like a file of another kind.
        if (errnoOf(error) !== null) throw error;
        return null;
      });
      return {
        ...factsOf(stats),
        mode: Number(stats.mode & 0o7777n),
        links: Number(stats.nlink),
        real_path: await readlink(`/proc/self/fd/${file.fd}`),
        state: `${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`,
        ctime_ns: stats.ctimeNs.toString(),
        image,
      };
    });
  } catch (error) {
    if (['ELOOP', NOT_READABLE_AS_FILE].includes(errnoOf(error) ?? '')) return null;
    throw error;
  }
}

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

async function measure(folder: string): Promise<TrialFacts> {
  const content = randomBytes(TRIAL_BYTES);
  const name = join(folder, `.sendense-probe-${content.toString('hex', 0, 8)}`);
  const [written, second, linked] = [`${name}-1`, `${name}-2`, `${name}-3`];
  try {
    const began = performance.now();
    const handle = await open(written, 'wx', 0o600);
    const before = Date.now();
    let owner: number;
    let skewMs: number;
    try {
      await handle.writeFile(content);
      await handle.sync();
      const { mtimeMs, uid } = await handle.stat();
      // The server stamps the time of the write, at some instant between the two.
      skewMs = Math.round(mtimeMs < before ? mtimeMs - before : Math.max(0, mtimeMs - Date.now()));
      owner = uid;
    } finally {
      await handle.close();
    }
    const writeMs = performance.now() - began;
    const readBegan = performance.now();
    const found = await readPastCache(written);
    const readMs = performance.now() - readBegan;
    await writeFile(second, 'to be replaced');
    await rename(written, second);
    if (!found.equals(content) || !(await readFile(second)).equals(content)) throw new Error('a file did not read back with the content written to it');
    const hardLinks = await link(second, linked).then(
      async () => (await stat(linked)).nlink === 2,
      () => false,
    );
    await chmod(second, 0o444);
    const readOnly = ((await stat(second)).mode & 0o777) === 0o444;
    const sparse = await open(written, 'wx', 0o600);
    try {
      await sparse.truncate(TRIAL_BYTES);
      await sparse.sync();
    } finally {
      await sparse.close();
    }
    return {
      holes: (await stat(written)).blocks * 512 < TRIAL_BYTES / 2,
      hard_links: hardLinks,
      read_only_mode: readOnly,
      owner_kept: owner === process.geteuid?.(),
      clock_skew_ms: skewMs,
      write_bytes_per_second: Math.round((TRIAL_BYTES * 1000) / Math.max(writeMs, 1)),
      read_bytes_per_second: Math.round((TRIAL_BYTES * 1000) / Math.max(readMs, 1)),
    };
  } finally {
    for (const path of [written, second, linked]) await rm(path, { force: true });
  }
}

/** The kernel writes directly into memory that is aligned to pages, which the memory of a large buffer is; where it does not, the cache is used. */
async function readPastCache(path: string): Promise<Buffer> {
  const aligned = Buffer.from(new SharedArrayBuffer(TRIAL_BYTES));
  try {
    const direct = await open(path, constants.O_RDONLY | constants.O_DIRECT);
    try {
      const { bytesRead } = await direct.read(aligned, 0, TRIAL_BYTES, 0);
      if (bytesRead === TRIAL_BYTES) return aligned;
    } finally {
      await direct.close();
    }
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
  }
  return readFile(path);
}
