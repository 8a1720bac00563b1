/** Copies files for its parent, one after another, and reads each copy back from the device. */
import { execFile } from 'node:child_process';
import { createHash, type Hash } from 'node:crypto';
import { chmodSync, closeSync, constants, fstatSync, fsync, ftruncateSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { messageOf } from '../../kernel/error-message.js';
import { serveParent } from '../../lib/process/serve-parent.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { DIGEST_BLOCK_BYTES, digestListBytes, DigestListWriter, readSealedList } from '../hashing/block-digests.js';
import {
  COPY_DIFFERS,
  type FileCopyResult,
  type FileCopyTask,
  type FileHealTask,
  type HealedRange,
  NOTHING_SOUND,
  OF_SOURCE,
  type SealedContent,
  SOURCE_ALTERED,
} from './file-copy.js';

const DIGEST_BYTES = 32;
const TELL_MS = 1_000;
const BACKGROUND_NICENESS = 5;
const HIGHEST_NICENESS = 19;
const ZEROES = Buffer.alloc(DIGEST_BLOCK_BYTES);
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const run = promisify(execFile);
const sync = promisify(fsync);

class CopyError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

setPriority(Math.min(getPriority() + BACKGROUND_NICENESS, HIGHEST_NICENESS));

serveParent(
  (task, onProgress) => perform(task as FileCopyTask | FileHealTask, onProgress), // sent by FileCopier
  (error) => ({ code: error instanceof CopyError ? error.code : errnoOf(error), message: messageOf(error) }),
);

async function perform(task: FileCopyTask | FileHealTask, onProgress: (bytes: number) => void): Promise<FileCopyResult | readonly HealedRange[]> {
  return 'damaged' in task ? heal(task, onProgress) : copy(task, onProgress);
}

/** @param onProgress called about once a second with the bytes copied, and then the bytes read back in addition */
async function copy(task: FileCopyTask, onProgress: (bytes: number) => void): Promise<FileCopyResult> {
  const progress = new Progress(onProgress);
  const result = task.source === null ? { written_bytes: 0, kept_bytes: 0 } : await transfer(task, task.source, progress);
  await readBack(task, progress);
  return result;
}

class Progress {
  private bytes = 0;
  private toldMs = performance.now();

  constructor(private readonly onProgress: (bytes: number) => void) {}

  add(bytes: number): void {
    this.bytes += bytes;
    if (performance.now() - this.toldMs < TELL_MS) return;
    this.toldMs = performance.now();
    this.onProgress(this.bytes);
  }
}

/** Blocks that the target has already are kept if they have their digest, or equal the source where there are no digests. */
async function transfer(task: FileCopyTask, source: string, progress: Progress): Promise<FileCopyResult> {
  const { target, content } = task;
  const expected = task.lists === null ? null : listAt(task.lists.source, content);
  const from = ofSource(() => openSync(source, READ_FLAGS));
  let to: number | null = null;
  try {
    const { size } = regular(from, source);
    if (size !== content.size_bytes) throw new CopyError(SOURCE_ALTERED, `it has ${size} bytes; it was sealed with ${content.size_bytes}`);
    to = openTarget(target);
    const there = regular(to, target).size;
    const proof = new Proof(content, expected);
    const pace = new Pace(task.bytes_per_second, progress);
    const [block, found] = [Buffer.allocUnsafe(DIGEST_BLOCK_BYTES), Buffer.allocUnsafe(DIGEST_BLOCK_BYTES)];
    let kept = 0;
    for (let offset = 0; offset < size; offset += DIGEST_BLOCK_BYTES) {
      const length = Math.min(DIGEST_BLOCK_BYTES, size - offset);
      const before = offset < there ? fill(to, found.subarray(0, length), offset) : found.subarray(0, 0);
      if (before.length === length && expected !== null && (await digestOf(before)).equals(digestAt(expected, offset))) {
        kept += length;
        progress.add(length);
        continue;
      }
      const bytes = ofSource(() => fill(from, block.subarray(0, length), offset));
      // Another thread computes it while the block is written: a file whose proof fails is never sealed.
      const proving = proof.add(offset, bytes);
      proving.catch(() => undefined);
      const isHole = offset >= there && bytes.equals(ZEROES.subarray(0, length));
      if (before.length === length && expected === null && before.equals(bytes)) kept += length;
      else if (!isHole) {
        write(to, bytes, offset);
        await pace.wrote(length);
      }
      await proving;
      progress.add(length);
    }
    proof.finish();
    ftruncateSync(to, size);
    await sync(to);
    return { written_bytes: pace.written, kept_bytes: kept };
  } finally {
    closeSync(from);
    if (to !== null) closeSync(to);
  }
}

/** An error of the system in reading the source, as one that names the side. */
function ofSource<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const errno = errnoOf(error);
    throw errno === null ? error : new CopyError(`${OF_SOURCE}${errno}`, messageOf(error));
  }
}

/**
 * Writes the file again. What is written was proven before, and is read back like a copy.
 * @returns the parts that came from sources, in order
 */
async function heal(task: FileHealTask, onProgress: (bytes: number) => void): Promise<readonly HealedRange[]> {
  const progress = new Progress(onProgress);
  const { target, content, lists } = task;
  rmSync(target, { force: true });
  if (lists === null) return healWhole(task, progress);
  const list = soundList(lists.candidates, content);
  if (task.only_list) {
    rmSync(lists.target, { force: true });
    const file = openSync(lists.target, 'wx', 0o444);
    try {
      write(file, list, 0);
      await sync(file);
    } finally {
      closeSync(file);
    }
    return [];
  }
  const ranges: { offset_bytes: number; length_bytes: number; source: number }[] = [];
  const readers = [task.damaged, ...task.sources].map((path) => readerOf(path));
  const to = openSync(target, 'wx+', 0o600);
  try {
    const block = Buffer.allocUnsafe(DIGEST_BLOCK_BYTES);
    for (let offset = 0; offset < content.size_bytes; offset += DIGEST_BLOCK_BYTES) {
      const length = Math.min(DIGEST_BLOCK_BYTES, content.size_bytes - offset);
      const bytes = block.subarray(0, length);
      const place = await firstSound(readers, bytes, offset, digestAt(list, offset));
      if (place === null) throw new CopyError(NOTHING_SOUND, `no place has its ${length} bytes from ${offset} on as they were sealed`);
      if (!bytes.equals(ZEROES.subarray(0, length))) write(to, bytes, offset);
      progress.add(length);
      if (place === 0) continue;
      const last = ranges.at(-1);
      if (last?.source === place - 1 && last.offset_bytes + last.length_bytes === offset) last.length_bytes += length;
      else ranges.push({ offset_bytes: offset, length_bytes: length, source: place - 1 });
    }
    ftruncateSync(to, content.size_bytes);
    await sync(to);
  } finally {
    closeSync(to);
    for (const reader of readers) if (reader !== null) closeSync(reader);
  }
  await readBack({ target, content, lists: { target: lists.target }, mtime_ns: task.mtime_ns }, progress);
  return ranges;
}

/** Without digests of blocks, one source must have the whole file. */
async function healWhole({ sources, target, content, mtime_ns }: FileHealTask, progress: Progress): Promise<readonly HealedRange[]> {
  for (const [index, source] of sources.entries()) {
    try {
      await transfer({ source, target, content, lists: null, mtime_ns, bytes_per_second: null }, source, progress);
    } catch (error) {
      if (error instanceof CopyError) continue;
      throw error;
    }
    await readBack({ target, content, lists: null, mtime_ns }, progress);
    return [{ offset_bytes: 0, length_bytes: content.size_bytes, source: index }];
  }
  throw new CopyError(NOTHING_SOUND, 'no place has the file as it was sealed');
}

/** @returns the first list that its root proves */
function soundList(candidates: readonly string[], content: SealedContent): Buffer {
  for (const path of candidates) {
    try {
      return listAt(path, content);
    } catch (error) {
      if (!(error instanceof CopyError)) throw error;
    }
  }
  throw new CopyError(NOTHING_SOUND, 'no place has the list of its digests as it was sealed');
}

/** null: there is no file that can be opened */
function readerOf(path: string): number | null {
  let file: number;
  try {
    file = openSync(path, READ_FLAGS);
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return null;
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  return null;
}

/** Fills the block from the first file that has it with this digest. @returns its index; null: none has it */
async function firstSound(readers: readonly (number | null)[], block: Buffer<ArrayBuffer>, offset: number, digest: Buffer): Promise<number | null> {
  for (const [index, reader] of readers.entries()) {
    if (reader === null) continue;
    try {
      const bytes = fill(reader, block, offset);
      if (bytes.length === block.length && (await digestOf(bytes)).equals(digest)) return index;
    } catch (error) {
      // A block that cannot be read is damaged.
      if (errnoOf(error) === null) throw error;
    }
  }
  return null;
}

/** Proves what is read from the source. */
class Proof {
  private readonly whole: Hash | null;

  constructor(
    private readonly content: SealedContent,
    private readonly expected: Buffer | null,
  ) {
    this.whole = expected === null ? createHash('sha256') : null;
  }

  async add(offset: number, bytes: Buffer<ArrayBuffer>): Promise<void> {
    this.whole?.update(bytes);
    if (this.expected === null || (await digestOf(bytes)).equals(digestAt(this.expected, offset))) return;
    throw new CopyError(SOURCE_ALTERED, `its bytes from ${offset} on differ from what was sealed, in a block of ${bytes.length} bytes`);
  }

  finish(): void {
    const sha256 = this.whole?.digest('hex') ?? this.content.sha256;
    if (sha256 !== this.content.sha256) throw new CopyError(SOURCE_ALTERED, `its SHA-256 is ${sha256}; it was sealed with ${this.content.sha256}`);
  }
}

/** Keeps to the limit by pauses. */
class Pace {
  written = 0;
  private readonly beganMs = performance.now();

  constructor(
    private readonly bytesPerSecond: number | null,
    private readonly progress: Progress,
  ) {}

  async wrote(bytes: number): Promise<void> {
    this.written += bytes;
    if (this.bytesPerSecond === null) return;
    const dueMs = this.beganMs + (this.written / this.bytesPerSecond) * 1_000;
    for (let left = dueMs - performance.now(); left > 0; left = dueMs - performance.now()) {
      await pause(Math.min(left, TELL_MS));
      this.progress.add(0);
    }
  }
}

/** Asks the kernel to drop its pages of the file, so that reading it comes from the device, and compares every block. */
async function readBack(
  {
    target,
    content,
    lists,
    mtime_ns,
  }: {
    readonly target: string;
    readonly content: SealedContent;
    readonly lists: { readonly target: string } | null;
    readonly mtime_ns: string;
  },
  progress: Progress,
): Promise<void> {
  // POSIX_FADV_DONTNEED, by the way of dd's manual.
  await run('dd', ['if=/dev/null', `of=${target}`, 'oflag=nocache', 'conv=nocreat,notrunc,fdatasync', 'count=0', 'status=none']);
  const file = openSync(target, READ_FLAGS);
  const list = lists === null ? null : new DigestListWriter(`${lists.target}.new`);
  try {
    const { size } = regular(file, target);
    if (size !== content.size_bytes) throw new CopyError(COPY_DIFFERS, `it has ${size} bytes instead of ${content.size_bytes}`);
    const whole = list === null ? createHash('sha256') : null;
    // One block is read while the other is hashed.
    const buffers = [Buffer.allocUnsafe(DIGEST_BLOCK_BYTES), Buffer.allocUnsafe(DIGEST_BLOCK_BYTES)] as const;
    let hashing: Promise<void> = Promise.resolve();
    for (let offset = 0; offset < size; offset += DIGEST_BLOCK_BYTES) {
      const buffer = buffers[(offset / DIGEST_BLOCK_BYTES) % 2 === 0 ? 0 : 1];
      const bytes = fill(file, buffer.subarray(0, Math.min(DIGEST_BLOCK_BYTES, size - offset)), offset);
      await hashing;
      whole?.update(bytes);
      hashing = list === null ? Promise.resolve() : digestOf(bytes).then((digest) => list.add(digest));
      hashing.catch(() => undefined);
      progress.add(bytes.length);
    }
    await hashing;
    const found = list?.finish().root ?? whole?.digest('hex');
    const sealed = content.blocks?.root ?? content.sha256;
    if (found !== sealed) throw new CopyError(COPY_DIFFERS, `what was read back has the digest ${found ?? ''} instead of ${sealed}`);
  } finally {
    closeSync(file);
    list?.close();
  }
  const [seconds, nanoseconds] = [mtime_ns.slice(0, -9) || '0', mtime_ns.slice(-9).padStart(9, '0')];
  await run('touch', ['-m', '-d', `@${seconds}.${nanoseconds}`, '--', target]);
  chmodSync(target, 0o444);
  if (lists === null) return;
  rmSync(lists.target, { force: true });
  renameSync(`${lists.target}.new`, lists.target);
  for (const path of [lists.target, target]) {
    const done = openSync(path, READ_FLAGS);
    await sync(done).finally(() => closeSync(done));
  }
}

/** @throws CopyError: without its list, the source cannot be proven block by block */
function listAt(path: string, { blocks, size_bytes }: SealedContent): Buffer {
  if (blocks === null) throw new Error('a file without digests has no list of them');
  const list = readSealedList(path, digestListBytes(size_bytes), blocks.root);
  if (typeof list === 'string') throw new CopyError(SOURCE_ALTERED, `the list of its digests cannot be used: ${list}`);
  return list;
}

function digestAt(list: Buffer, offset: number): Buffer {
  const at = (offset / DIGEST_BLOCK_BYTES) * DIGEST_BYTES;
  return list.subarray(at, at + DIGEST_BYTES);
}

async function digestOf(block: Uint8Array<ArrayBuffer>): Promise<Buffer> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', block));
}

/** A file seeded by hand or sealed before may be read-only. */
function openTarget(path: string): number {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    if (errnoOf(error) !== 'EACCES') throw error;
    chmodSync(path, 0o600);
    return openSync(path, flags, 0o600);
  }
}

function regular(file: number, path: string): { readonly size: number } {
  const stats = fstatSync(file);
  if (!stats.isFile()) throw new CopyError(SOURCE_ALTERED, `"${path}" is not a regular file`);
  return stats;
}

/** @returns the part of the buffer that the file filled */
function fill(file: number, buffer: Buffer<ArrayBuffer>, position: number): Buffer<ArrayBuffer> {
  let filled = 0;
  for (let bytes = -1; filled < buffer.length && bytes !== 0; filled += bytes)
    bytes = readSync(file, buffer, filled, buffer.length - filled, position + filled);
  return buffer.subarray(0, filled);
}

function write(file: number, bytes: Buffer, position: number): void {
  for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written, bytes.length - written, position + written);
}
