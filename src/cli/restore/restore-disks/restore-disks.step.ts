import { chmod, link, lstat, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '../../../kernel/domain-error.js';
import { streamTool } from '../../../lib/process/stream-tool.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import type { ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import { compareArgv, convertArgv, type DiskFormat, percentIn, restoredFileName } from '../../../lib/qemu/disk-copy.plan.js';
import { syncToDisk } from '../../../lib/files/durable-write.js';
import type { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../../storage/repository-files/restore-point-verifier.js';
import type { FoundPoint } from '../model/found-points.plan.js';

export interface DisksToRestore {
  readonly repositoryPath: string;
  readonly point: FoundPoint;
  readonly files: ReadonlyMap<number, string>;
  readonly target: string;
  readonly format: DiskFormat;
  readonly overwrite: boolean;
  readonly signal: AbortSignal;
  readonly tell: (what: string, percent: number | null) => void;
}

/**
 * Writes disks of a restore point into a directory. The hashes of the whole chain are checked during the write, and each written file is compared with its
 * source, before any file gets its final name. Removes its files on failure.
 * @returns absolute paths of the files
 * @throws DomainError target_missing, target_exists, source_damaged, restore_point_unsafe, restored_content_differs; ToolError; the signal's reason
 */
export async function restoreDisks(files: RepositoryFiles, verifier: RestorePointVerifier, wanted: DisksToRestore): Promise<readonly string[]> {
  const { target, format, signal, tell, point } = wanted;
  const found = await stat(target).catch(() => null);
  if (found === null || !found.isDirectory()) throw new DomainError('invalid', 'target_missing', `There is no directory "${target}". Create it first.`);
  const outputs = [...wanted.files].map(([diskId, source]) => {
    const name = restoredFileName(point.vm_name, diskId, format);
    return { diskId, source, name, final: join(target, name) };
  });
  if (!wanted.overwrite) for (const { final } of outputs) await refuseExisting(final);
  const chains = new Map<number, ImageChain>();
  for (const { diskId, source } of outputs) {
    // The hashes catch whatever this check lets through.
    const { images } = await files.checkChain(wanted.repositoryPath, await verifier.chainOf(wanted.repositoryPath, source), true);
    chains.set(diskId, images);
  }
  const folder = await mkdtemp(join(target, '.sendense-restore-'));
  const giveUp = new AbortController();
  const both = AbortSignal.any([signal, giveUp.signal]);
  const verified = verify(verifier, wanted, both);
  verified.catch((error: unknown) => giveUp.abort(error));
  try {
    for (const { diskId, name } of outputs) {
      const source = chains.get(diskId);
      if (source === undefined) throw new Error(`disk ${diskId} has no files`);
      const made = join(folder, name);
      await follow(convertArgv(source, made, format), both, (percent) => tell(`writing disk ${diskId}`, percent));
      await syncToDisk(made);
      await follow(compareArgv(source, made, format), both, (percent) => tell(`comparing disk ${diskId}`, percent)).catch((error: unknown) => {
        both.throwIfAborted();
        throw new DomainError('conflict', 'restored_content_differs', `Disk ${diskId} differs from the restore point after writing: ${String(error)}`);
      });
    }
    tell('waiting for the hashes of the chain', null);
    await verified;
    for (const { name, final } of outputs) await give(join(folder, name), final, wanted.overwrite);
    await syncToDisk(target);
    return outputs.map(({ final }) => final);
  } catch (error) {
    // Damage found in the source explains more than a copy that failed because of it.
    if (error instanceof ToolError && !/no space left/i.test(error.stderrTail)) await verified;
    throw error;
  } finally {
    giveUp.abort(new Error('the restore is over'));
    await rm(folder, { recursive: true, force: true });
  }
}

async function verify(verifier: RestorePointVerifier, wanted: DisksToRestore, signal: AbortSignal): Promise<void> {
  const verdicts = await verifier.verifyChain(wanted.repositoryPath, wanted.point.folder, signal);
  const first = verdicts.flatMap(({ findings }) => findings)[0];
  if (first !== undefined) throw new DomainError('conflict', 'source_damaged', first.detail, { folder: first.folder, file: first.file });
}

async function follow(argv: readonly [string, ...string[]], signal: AbortSignal, progress: (percent: number) => void): Promise<void> {
  const { stdout, ended } = streamTool(argv, signal);
  stdout.setEncoding('utf8');
  stdout.on('data', (text: string) => progress(percentIn(text)));
  await ended;
}

async function give(from: string, to: string, overwrite: boolean): Promise<void> {
  // A disk contains data that its guest protects from other users.
  await chmod(from, 0o600);
  if (overwrite) return rename(from, to);
  try {
    // Unlike rename, link never replaces a file.
    await link(from, to);
  } catch (error) {
    await refuseExisting(to);
    if (errnoOf(error) === null) throw error;
    await rename(from, to);
  }
}

async function refuseExisting(path: string): Promise<void> {
  if ((await lstat(path).catch(() => null)) === null) return;
  throw new DomainError('conflict', 'target_exists', `"${path}" already exists. Move it away, choose another directory, or add --overwrite.`, { file: path });
}
