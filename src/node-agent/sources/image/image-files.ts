import { open, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { DomainError } from '../../../kernel/domain-error.js';
import { messageOf } from '../../../kernel/error-message.js';
import type { QemuImg } from '../../../platform/qemu/qemu-img.js';
import type { ImageInfo } from '../../../platform/qemu/qemu-img-output.js';
import { ToolError } from '../../../platform/process/tool-error.js';
import type { Failure } from '../../model/job.state.js';
import { diskFileNames, imageFormat, type ImageFormat, withoutParents } from './image-layout.plan.js';
import { fileIdentity, findWriters } from './open-writers.js';

/** A disk file as it is just now. */
export interface ImageDisk {
  /** File name. */
  readonly key: string;
  readonly path: string;
  /** null when it cannot be resolved. */
  readonly realPath: string | null;
  /** See fileIdentity; null when it cannot be looked at. */
  readonly identity: string | null;
  readonly format: ImageFormat;
  /** Whether it can hold persistent bitmaps. */
  readonly tracking: boolean;
  readonly sizeBytes: number;
  readonly bitmaps: ImageInfo['bitmaps'];
  /** Real paths of all its parents, nearest first. */
  readonly backingFiles: readonly string[];
  readonly problem: Failure | null;
}

const MAX_CHAIN = 200;
/** QCOW2 header, version 3: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt */
const HEADER_BYTES = 80;
const CRYPT_METHOD_AT = 32;
const INCOMPATIBLE_FEATURES_LOW_AT = 76;
const FEATURE_EXTERNAL_DATA_FILE = 1 << 2;

/**
 * The folder of a VM, directly below one of the roots; no symbolic link leads out of them. @returns its real path
 * @throws DomainError vm_not_found
 */
export async function resolveVmFolder(sourceRef: string, roots: readonly string[]): Promise<string> {
  const notFound = new DomainError('not_found', 'vm_not_found', `There is no VM folder "${sourceRef}" directly below one of the node's image roots.`, {
    source_ref: sourceRef,
  });
  if (!isAbsolute(sourceRef) || sourceRef.includes('\0') || normalize(sourceRef) !== sourceRef || sourceRef.endsWith('/')) throw notFound;
  const [real, parent, realRoots] = await Promise.all([realPathOrNull(sourceRef), realPathOrNull(dirname(sourceRef)), realPaths(roots)]);
  if (real === null || parent === null || !realRoots.includes(parent) || !isWithin(real, realRoots)) throw notFound;
  const stats = await stat(real);
  if (!stats.isDirectory()) throw notFound;
  return real;
}

/** `try`: an image that a qemu has open for writing is found to be in use. `left`: that is left to the tools that go on to open it, which saves a start of one. */
type LockTest = 'try' | 'left';

/** All disks of a VM folder in their order, each with its problem; a folder that vanishes while it is read has none. */
export async function inspectDisks(folder: string, roots: readonly string[], qemuImg: QemuImg, lock: LockTest): Promise<readonly ImageDisk[]> {
  const realRoots = await realPaths(roots);
  const names = diskFileNames(await readdir(folder));
  const identities = await Promise.all(names.map((name) => identityOrNull(join(folder, name))));
  const wanted = new Set(identities.filter((identity) => identity !== null));
  // While the tools look into the files, this process looks who else has them open.
  const [disks, seen] = await Promise.all([
    Promise.all(names.map((name) => inspectDisk(join(folder, name), name, realRoots, qemuImg, lock))),
    findWriters(wanted),
  ]);
  // A program that the tools have met and this process has not yet: who it is, is worth another look.
  const unnamed = disks.some(({ problem, identity }) => problem?.code === 'disk_in_use' && identity !== null && !seen.has(identity));
  const writers = unnamed ? await findWriters(wanted) : seen;
  return withoutParents(disks).map((disk) => {
    const writer = disk.identity === null ? undefined : writers.get(disk.identity);
    return writer === undefined ? disk : { ...disk, problem: inUse(disk.key, `${writer} has it open for writing`) };
  });
}

export function inUse(key: string, how: string): Failure {
  return { code: 'disk_in_use', detail: `Disk "${key}" is in use: ${how}. Power the VM off, or end that program.` };
}

/** qemu locks the images it has open, also against other machines where the file system can. */
export function isLockError(error: unknown): boolean {
  return error instanceof ToolError && isLockMessage(error.stderrTail);
}

export function isLockMessage(stderr: string): boolean {
  return /Failed to get .*lock/i.test(stderr);
}

async function inspectDisk(path: string, key: string, realRoots: readonly string[], qemuImg: QemuImg, lock: LockTest): Promise<ImageDisk> {
  const unknown = {
    key,
    path,
    realPath: null,
    identity: null,
    format: 'raw',
    tracking: false,
    sizeBytes: 0,
    bitmaps: [],
    backingFiles: [],
    problem: null,
  } as const;
  try {
    const realPath = await realPathOrNull(path);
    if (realPath === null) return { ...unknown, problem: { code: 'disk_unreadable', detail: `Disk "${key}" is a link that leads nowhere.` } };
    if (!isWithin(realPath, realRoots)) {
      return {
        ...unknown,
        problem: { code: 'disk_outside_root', detail: `Disk "${key}" is a link to a file outside the node's image roots; such a file is not read.` },
      };
    }
    const stats = await stat(realPath, { bigint: true });
    if (!stats.isFile()) return { ...unknown, realPath, problem: { code: 'disk_unreadable', detail: `Disk "${key}" is not a regular file.` } };
    const found = { ...unknown, realPath, identity: fileIdentity(stats), sizeBytes: Number(stats.size) };
    const head = await readHead(realPath);
    const verdict = imageFormat(key, head.toString('latin1', 0, 8));
    if ('problem' in verdict) return { ...found, problem: { code: 'format_unsupported', detail: `Disk "${key}": ${verdict.problem}` } };
    if (verdict.format === 'raw') {
      return stats.size > 0n
        ? await described(found, 'raw', false, [], qemuImg, 'try')
        : { ...found, problem: { code: 'disk_unreadable', detail: `Disk "${key}" is empty.` } };
    }
    const version = head.length >= HEADER_BYTES ? head.readUInt32BE(4) : 0;
    const refusal = qcow2Refusal(head, version);
    if (refusal !== null) return { ...found, format: 'qcow2', problem: { code: 'format_unsupported', detail: `Disk "${key}": ${refusal}` } };
    return await described(found, 'qcow2', version >= 3, realRoots, qemuImg, lock);
  } catch (error) {
    if (error instanceof ToolError && error.code === 'tool_missing') throw toolMissing(error);
    const detail = messageOf(error);
    return { ...unknown, problem: { code: 'disk_unreadable', detail: `Disk "${key}" cannot be read: ${detail}` } };
  }
}

export function toolMissing(error: ToolError): DomainError {
  return new DomainError('unavailable', 'tool_missing', `${error.tool} is not installed on the node, or not in its PATH. Install it and try again.`, {
    tool: error.tool,
  });
}

/** What a hub could not restore from the data alone, or what would make qemu open another file than the one that was checked. */
function qcow2Refusal(head: Buffer, version: number): string | null {
  if (version < 2) return 'Its QCOW2 header is cut off.';
  if (head.readUInt32BE(CRYPT_METHOD_AT) !== 0) return 'Encrypted QCOW2 images cannot be backed up.';
  if (version >= 3 && (head.readUInt32BE(INCOMPATIBLE_FEATURES_LOW_AT) & FEATURE_EXTERNAL_DATA_FILE) !== 0)
    return 'QCOW2 images with an external data file cannot be backed up.';
  return null;
}

async function described(
  found: Omit<ImageDisk, 'format' | 'realPath'> & { readonly realPath: string },
  format: ImageFormat,
  tracking: boolean,
  realRoots: readonly string[],
  qemuImg: QemuImg,
  lock: LockTest,
): Promise<ImageDisk> {
  // Without force-share this fails while a qemu has the image open for writing: the test for its lock costs no extra process.
  const { info, locked } = await infoAndLock(found.realPath, format, qemuImg, lock);
  const chain = await backingChain(info, realRoots, qemuImg);
  const disk = { ...found, format, tracking, sizeBytes: info.virtual_size, bitmaps: info.bitmaps, backingFiles: chain.files };
  if (locked) return { ...disk, problem: inUse(found.key, 'a qemu program has it open for writing') };
  if (chain.problem !== null) return { ...disk, problem: { code: 'backing_file_refused', detail: `Disk "${found.key}": ${chain.problem}` } };
  if (info.corrupt) return { ...disk, problem: { code: 'disk_corrupt', detail: `Disk "${found.key}" is marked corrupt. Repair it with qemu-img check -r.` } };
  return { ...disk, problem: null };
}

async function infoAndLock(
  path: string,
  format: ImageFormat,
  qemuImg: QemuImg,
  lock: LockTest,
): Promise<{ readonly info: ImageInfo; readonly locked: boolean }> {
  if (lock === 'left') {
    const info = await qemuImg.info(path, { format, forceShare: true });
    // Bitmaps are in use while a qemu has the image open, and after one was killed.
    if (!info.dirty && !info.corrupt && !info.bitmaps.some(({ flags }) => flags.includes('in-use'))) return { info, locked: false };
  }
  try {
    return { info: await qemuImg.info(path, { format }), locked: false };
  } catch (error) {
    if (!isLockError(error)) throw error;
    return { info: await qemuImg.info(path, { format, forceShare: true }), locked: true };
  }
}

/** An image's header names its parent, and whoever writes the image could name any file of this machine: only files below the image roots are followed. */
async function backingChain(
  top: ImageInfo,
  realRoots: readonly string[],
  qemuImg: QemuImg,
): Promise<{ readonly files: readonly string[]; readonly problem: string | null }> {
  const files: string[] = [];
  let info = top;
  while (info.full_backing_filename !== null) {
    const named = info.full_backing_filename;
    const real = isAbsolute(named) ? await realPathOrNull(named) : null;
    if (real === null) return { files, problem: `its backing file "${named}" does not exist or is not a local file.` };
    if (!isWithin(real, realRoots)) return { files, problem: `its backing file "${named}" lies outside the node's image roots.` };
    if (files.includes(real) || files.length >= MAX_CHAIN) return { files, problem: 'its chain of backing files has no end.' };
    files.push(real);
    const head = await readHead(real);
    const isQcow2 = head.toString('latin1', 0, 4) === 'QFI\xfb';
    const refusal = isQcow2 ? qcow2Refusal(head, head.length >= HEADER_BYTES ? head.readUInt32BE(4) : 0) : null;
    if (refusal !== null) return { files, problem: `its backing file "${named}": ${refusal}` };
    info = await qemuImg.info(real, { format: info.backing_format ?? (isQcow2 ? 'qcow2' : 'raw'), forceShare: true });
  }
  return { files, problem: null };
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function identityOrNull(path: string): Promise<string | null> {
  try {
    return fileIdentity(await stat(path, { bigint: true }));
  } catch {
    return null;
  }
}

/** A root that takes longer to be resolved counts as what it was when it was resolved last. */
const ROOT_PATIENCE_MS = 1_000;
const rootsBeingResolved = new Map<string, Promise<string | null>>();
const rootsResolved = new Map<string, string | null>();

/** Roots that do not exist (yet) hold nothing. One whose file system hangs holds up nobody who looks into another, and only one call ever hangs in it. */
export async function realPaths(roots: readonly string[]): Promise<readonly string[]> {
  return (await Promise.all(roots.map(realRoot))).filter((path) => path !== null);
}

async function realRoot(root: string): Promise<string | null> {
  let resolving = rootsBeingResolved.get(root);
  if (resolving === undefined) {
    resolving = realPathOrNull(root).then((path) => {
      rootsBeingResolved.delete(root);
      rootsResolved.set(root, path);
      return path;
    });
    rootsBeingResolved.set(root, resolving);
  }
  const patience = new AbortController();
  const late = pause(ROOT_PATIENCE_MS, null, { signal: patience.signal }).then(
    () => rootsResolved.get(root) ?? null,
    () => null,
  );
  try {
    return await Promise.race([resolving, late]);
  } finally {
    patience.abort();
  }
}

async function realPathOrNull(path: string): Promise<string | null> {
  try {
    return await realpath(path);
  } catch {
    return null;
  }
}

function isWithin(path: string, realRoots: readonly string[]): boolean {
  return realRoots.some((root) => path.startsWith(root === sep ? root : `${root}${sep}`));
}
