import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { DomainError } from '../../../kernel/domain-error.js';
import { messageOf } from '../../../kernel/error-message.js';
import type { ImageFormat } from '../../../lib/qemu/image-graph.plan.js';
import type { QemuImg } from '../../../lib/qemu/qemu-img.js';
import type { ImageInfo } from '../../../lib/qemu/qemu-img-output.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import type { Failure } from '../../model/job.state.js';
import { type ChainRules, type DiskChain, withChain } from '../disk-chain/disk-chain.js';
import type { HeldFile } from '../disk-chain/held-file.js';
import { diskFileNames, doubtOfRaw, formatOfName, HEAD_BYTES, withoutParents } from './image-layout.plan.js';
import { ImageRules } from './image-rules.js';
import { fileIdentity, findWriters } from './open-writers.js';
import { isWithin, realPathOrNull, realPaths } from './real-paths.js';

/** The current state of a disk file. */
export interface ImageDisk {
  /** File name. */
  readonly key: string;
  /** Without symbolic links. */
  readonly path: string;
  /** See fileIdentity; null if it cannot be inspected. */
  readonly identity: string | null;
  readonly format: ImageFormat;
  /** Whether it can hold persistent bitmaps. */
  readonly tracking: boolean;
  readonly sizeBytes: number;
  readonly bitmaps: ImageInfo['bitmaps'];
  /** Real paths of all its backing files, nearest first. */
  readonly backingFiles: readonly string[];
  readonly problem: Failure | null;
}

/**
 * Resolves a VM's folder, directly below one of the roots and not reached through symbolic links. @returns its real path
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

/** `try`: detects whether a qemu has an image open for writing. `left`: leaves that to the tools that open it later. */
type LockTest = 'try' | 'left';

/**
 * All disks of a VM folder in order, each with its problem; empty for a folder that vanishes in the meantime. @param folder its real path; @param templates see
 * TemplateList; @param lookMaxAgeMs see findWriters
 */
export async function inspectDisks(
  folder: string,
  templates: readonly string[],
  qemuImg: QemuImg,
  lock: LockTest,
  lookMaxAgeMs: number,
): Promise<readonly ImageDisk[]> {
  const rules = new ImageRules(folder, templates);
  const names = diskFileNames(await readdir(folder));
  const identities = await Promise.all(names.map((name) => identityOrNull(join(folder, name))));
  const wanted = new Set(identities.filter((identity) => identity !== null));
  // While the tools inspect the files, this process searches for other programs that have them open.
  const [disks, seen] = await Promise.all([
    Promise.all(names.map((name) => inspectDisk(folder, name, rules, qemuImg, lock))),
    findWriters(wanted, lookMaxAgeMs),
  ]);
  // The tools found a lock whose holder this process has not seen yet; search once more to name it.
  const unnamed = disks.some(({ problem, identity }) => problem?.code === 'disk_in_use' && identity !== null && !seen.has(identity));
  const writers = unnamed ? await findWriters(wanted) : seen;
  return withoutParents(disks).map((disk) => {
    const writer = disk.identity === null ? undefined : writers.get(disk.identity);
    return writer === undefined ? disk : { ...disk, problem: inUse(disk.key, `${writer} has it open for writing`) };
  });
}

export function inUse(key: string, how: string): Failure {
  return { code: 'disk_in_use', detail: `Disk "${key}" is in use: ${how}. Power off the VM, or end that program.` };
}

/** qemu locks the images it has open, and across machines if the file system supports it. */
export function isLockError(error: unknown): boolean {
  return error instanceof ToolError && isLockMessage(error.stderrTail);
}

export function isLockMessage(stderr: string): boolean {
  return /Failed to get .*lock/i.test(stderr);
}

export function toolMissing(error: ToolError): DomainError {
  return new DomainError('unavailable', 'tool_missing', `${error.tool} is not installed on the node, or not in its PATH. Install it and try again.`, {
    tool: error.tool,
  });
}

async function inspectDisk(folder: string, key: string, rules: ChainRules, qemuImg: QemuImg, lock: LockTest): Promise<ImageDisk> {
  const path = join(folder, key);
  const format = formatOfName(key) ?? 'raw';
  const unknown = { key, path, identity: null, format, tracking: false, sizeBytes: 0, bitmaps: [], backingFiles: [] } as const;
  try {
    if ((await lstat(path)).isSymbolicLink()) {
      return {
        ...unknown,
        problem: { code: 'disk_outside_root', detail: `Disk "${key}" is a symbolic link; only files in the VM's own folder are read.` },
      };
    }
    return await withChain({ path, realPath: path }, format, rules, async (chain) => {
      const { file } = chain.top;
      const found = { ...unknown, identity: file.identity, sizeBytes: file.sizeBytes, backingFiles: chain.parents.map((parent) => parent.file.realPath) };
      const problem = (await ownProblem(key, file)) ?? chain.problem;
      if (problem !== null) return { ...found, problem: { code: problem.code, detail: `Disk "${key}": ${problem.detail}` } };
      return await described(found, chain, qemuImg, lock);
    });
  } catch (error) {
    if (error instanceof ToolError && error.code === 'tool_missing') throw toolMissing(error);
    return { ...unknown, problem: { code: 'disk_unreadable', detail: `Disk "${key}" cannot be read: ${messageOf(error)}` } };
  }
}

async function ownProblem(key: string, file: HeldFile): Promise<Failure | null> {
  if (file.isDevice) return { code: 'disk_unreadable', detail: 'It is not a regular file.' };
  if (file.sizeBytes === 0) return { code: 'disk_unreadable', detail: 'It is empty.' };
  const doubt = doubtOfRaw(key, (await file.head(HEAD_BYTES)).toString('latin1'));
  return doubt === null ? null : { code: 'format_unsupported', detail: doubt };
}

async function described(found: Omit<ImageDisk, 'problem'>, chain: DiskChain, qemuImg: QemuImg, lock: LockTest): Promise<ImageDisk> {
  const { info, locked } = await lookInto(chain, lock, qemuImg);
  const disk = { ...found, tracking: chain.top.tracking, sizeBytes: info?.virtual_size ?? found.sizeBytes, bitmaps: info?.bitmaps ?? [] };
  if (locked) return { ...disk, problem: inUse(found.key, 'a qemu program has it open for writing') };
  if (info?.corrupt === true)
    return { ...disk, problem: { code: 'disk_corrupt', detail: `Disk "${found.key}" is marked corrupt. Repair it with qemu-img check -r.` } };
  return { ...disk, problem: null };
}

/** Size and bitmaps of a disk, and whether a qemu has it open for writing. @returns info null: a raw disk that is in use */
export async function lookInto(chain: DiskChain, lock: LockTest, qemuImg: QemuImg): Promise<{ readonly info: ImageInfo | null; readonly locked: boolean }> {
  const { info, file } = chain.top;
  // Bitmaps are marked in use while a qemu has the image open, and after one was killed.
  if (info !== null && !info.dirty && !info.corrupt && !info.bitmaps.some(({ flags }) => flags.includes('in-use'))) {
    const locked = lock === 'left' ? false : await file.isLockedByQemu();
    if (locked !== null) return { info, locked };
  }
  try {
    // Fails while a qemu has the image open for writing, so the lock test needs no extra process.
    return { info: await qemuImg.infoOf(chain.topGraph(), chain.descriptors), locked: false };
  } catch (error) {
    if (!isLockError(error)) throw error;
    return { info, locked: true };
  }
}

async function identityOrNull(path: string): Promise<string | null> {
  try {
    return fileIdentity(await lstat(path, { bigint: true }));
  } catch {
    return null;
  }
}
