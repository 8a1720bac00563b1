import { dirname, join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import { ifThere } from '../../lib/files/if-there.js';
import type { ImageChain } from '../../lib/qemu/image-chain.plan.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import { DIGEST_BLOCK_BYTES } from '../hashing/block-digests.js';
import { FileHasher } from '../hashing/file-hasher.js';
import { headerProblem } from '../repository-files/chain-check.plan.js';
import { finishedManifest } from '../repository-files/manifest-rewriting.plan.js';
import { blocksFileOf, type Manifest, type ManifestBlocks, type ManifestDisk, type RewriteOperation, type Rewriting } from '../repository-files/manifest.js';
import type { ManifestSigner } from '../repository-files/manifest-signature.js';
import type { ProvenFile, ProvenFiles } from '../repository-files/proven-files.js';
import type { RepositoryFiles } from '../repository-files/repository-files.js';
import type { RestorePointVerifier } from '../repository-files/restore-point-verifier.js';
import { repositoryOf } from '../repository-files/restore-point-folder.js';
import { storageError } from '../repository-files/storage-error.js';
import { DIRECT_CALLS, type FileCalls } from '../storage-worker/file-calls.js';
import type { ImageMerger } from './image-merger.js';

export interface RewriteRequest {
  readonly repositoryPath: string;
  /** The restore point's folder, relative to the repository. */
  readonly folder: string;
  /** Backup id of the ancestor that the restore point is based on afterwards; null: it becomes a full. */
  readonly parentBackupId: string | null;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly signal?: AbortSignal;
}

/** A restore point after its files were replaced. */
export interface RewrittenPoint {
  readonly manifest: Manifest;
  /** SHA-256 of manifest.json, lower-case hex. */
  readonly manifest_sha256: string;
}

/** New files of a restore point, complete and compared, next to its folder. */
export interface PreparedRewrite {
  readonly repositoryPath: string;
  readonly folder: string;
  readonly rewriting: Rewriting;
}

/** What was left of an interrupted rewriting. */
export type Settled = { readonly outcome: 'nothing' | 'undone' } | ({ readonly outcome: 'finished' } & RewrittenPoint);

const SEALED_FILE = 0o444;
const SEALED_FOLDER = 0o555;

/**
 * Makes a restore point independent of restore points below it, without changing a sealed file: new files are written next to the old ones, compared with
 * them, and renamed over them one by one. docs/repository-format.md describes the steps.
 */
export class RestorePointRewriter {
  constructor(
    private readonly files: RepositoryFiles,
    private readonly verifier: RestorePointVerifier,
    private readonly merger: ImageMerger,
    private readonly qemuImg: QemuImg,
    private readonly hasher: FileHasher,
    private readonly proven: ProvenFiles,
    /** Returns the signer of now. */
    private readonly signer: () => ManifestSigner,
    private readonly callsAt: (repositoryPath: string) => FileCalls = () => DIRECT_CALLS,
  ) {}

  /**
   * Writes and compares the new files. The restore point itself is not touched, so this may take long while others read it. Settles what an earlier rewriting
   * has left.
   * @returns null: the restore point has that parent already
   * @throws DomainError restore_point_damaged, restore_point_unsafe, rewritten_content_differs (conflict), restore_point_missing, manifest_broken (gone),
   * repository_full, repository_unavailable; ToolError; the signal's reason
   */
  async prepare({ repositoryPath, folder, parentBackupId, at, signal }: RewriteRequest): Promise<PreparedRewrite | null> {
    await this.settle(repositoryPath, folder, signal);
    const { stored } = await this.files.readManifestAndHash(repositoryPath, folder);
    if ((stored.parent?.backup_id ?? null) === parentBackupId) return null;
    const merged = await this.lineage(repositoryPath, stored, parentBackupId);
    const operation: RewriteOperation = parentBackupId === null ? 'flatten' : 'absorb';
    await this.onStorage(repositoryPath, `preparing to rewrite ${folder}`, async () => {
      const calls = this.callsAt(repositoryPath);
      await calls.makeFolder(join(repositoryPath, temporaryFolder(folder)), 0o750);
    });
    const disks: ManifestDisk[] = [];
    for (const disk of stored.disks) {
      if (disk.backing_file !== null) disks.push(await this.build(repositoryPath, folder, disk, merged.folders, signal));
    }
    return { repositoryPath, folder, rewriting: { operation, at, merged: merged.backupIds, parent: merged.parent, disks } };
  }

  /** Replaces the files. Takes milliseconds. Readers that have the old files open keep reading them. */
  async swap({ repositoryPath, folder, rewriting }: PreparedRewrite): Promise<RewrittenPoint> {
    const { stored } = await this.files.readManifestAndHash(repositoryPath, folder);
    await this.placeLists(repositoryPath, folder, rewriting);
    await this.writeManifest(repositoryPath, folder, { ...stored, rewriting });
    return this.finish(repositoryPath, folder, stored, rewriting);
  }

  /**
   * Finishes an interrupted rewriting whose files were being replaced, and undoes one that had not come that far. May be repeated.
   * @throws as prepare
   */
  async settle(repositoryPath: string, folder: string, signal?: AbortSignal): Promise<Settled> {
    const { stored } = await this.files.readManifestAndHash(repositoryPath, folder);
    if (stored.rewriting === undefined) return { outcome: (await this.tidy(repositoryPath, folder)) ? 'undone' : 'nothing' };
    const rewriting = await this.withLostFiles(repositoryPath, folder, stored, stored.rewriting, signal);
    if (rewriting !== stored.rewriting) {
      await this.placeLists(repositoryPath, folder, rewriting);
      await this.writeManifest(repositoryPath, folder, { ...stored, rewriting });
    }
    return { outcome: 'finished', ...(await this.finish(repositoryPath, folder, stored, rewriting)) };
  }

  /** Builds new files that somebody has removed before they were in place; the others are in place already, or wait to be. */
  private async withLostFiles(
    repositoryPath: string,
    folder: string,
    stored: Manifest,
    rewriting: Rewriting,
    signal: AbortSignal | undefined,
  ): Promise<Rewriting> {
    const lost: ManifestDisk[] = [];
    for (const after of rewriting.disks) {
      if (await this.isReplaced(repositoryPath, folder, after)) continue;
      const built = await this.files.look(repositoryPath, join(temporaryFolder(folder), after.file));
      const before = stored.disks.find(({ file }) => file === after.file);
      if (built?.size_bytes !== after.file_size_bytes && before !== undefined) lost.push(before);
    }
    if (lost.length === 0) return rewriting;
    const { folders } = await this.lineage(repositoryPath, stored, rewriting.parent?.backup_id ?? null);
    await this.onStorage(repositoryPath, `rewriting ${folder}`, async () => {
      const calls = this.callsAt(repositoryPath);
      const temporary = join(repositoryPath, temporaryFolder(folder));
      if ((await ifThere(calls.lstat(temporary))) === null) await calls.makeFolder(temporary, 0o750);
    });
    const rebuilt = new Map<string, ManifestDisk>();
    for (const disk of lost) rebuilt.set(disk.file, await this.build(repositoryPath, folder, disk, folders, signal));
    return { ...rewriting, disks: rewriting.disks.map((disk) => rebuilt.get(disk.file) ?? disk) };
  }

  /** The restore point and its ancestors above the new parent, newest first. */
  private async lineage(
    repositoryPath: string,
    stored: Manifest,
    parentBackupId: string | null,
  ): Promise<{ readonly folders: readonly string[]; readonly backupIds: readonly string[]; readonly parent: Manifest['parent'] }> {
    const folders: string[] = [];
    const backupIds: string[] = [];
    let next = stored.parent;
    while (next !== null && next.backup_id !== parentBackupId) {
      if (folders.includes(next.folder)) throw new Error(`"${next.folder}" depends on itself`);
      folders.push(next.folder);
      backupIds.push(next.backup_id);
      next = (await this.files.readManifest(repositoryPath, next.folder)).parent;
    }
    if ((next?.backup_id ?? null) !== parentBackupId) throw new Error(`${parentBackupId} is not an ancestor of restore point ${stored.backup_id}`);
    return { folders, backupIds, parent: next };
  }

  /** Writes a disk's new file: a copy of the oldest merged file, with the data of those above it. @returns its entry in the manifest */
  private async build(
    repositoryPath: string,
    folder: string,
    disk: ManifestDisk,
    mergedFolders: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<ManifestDisk> {
    const file = join(folder, disk.file);
    const sources = await this.verifier.chainOf(repositoryPath, file);
    const chain = await this.files.checkChain(repositoryPath, sources, false);
    const at = sources.findIndex((each) => mergedFolders.includes(dirname(each.file)));
    const [oldest, ...layers] = chain.images.slice(at);
    const lowest = sources[at];
    const [firstLayer, ...otherLayers] = layers;
    if (lowest === undefined || oldest === undefined || firstLayer === undefined) throw new Error(`"${file}" is not based on a file to be merged`);
    const target = join(repositoryPath, temporaryFolder(folder), disk.file);
    const merging = [
      // A damaged file would get a new and valid hash.
      ...sources.slice(at).map((source) => this.refuseAltered(repositoryPath, source, signal)),
      this.merge(repositoryPath, disk, { oldest, layers: [firstLayer, ...otherLayers], target }, signal),
    ];
    // Nothing may be in progress when a failure is reported.
    await Promise.allSettled(merging);
    await Promise.all(merging);

    const below = sources[at - 1]?.file ?? null;
    const written = await this.files.imageFacts(repositoryPath, join(temporaryFolder(folder), disk.file));
    const problem = headerProblem(written?.image ?? null, join(temporaryFolder(folder), disk.file), below);
    const refusal = (what: string): DomainError =>
      new DomainError('conflict', 'rewritten_content_differs', `The new file for "${join(repositoryPath, file)}" ${what}. The restore point is unchanged.`, {
        file,
      });
    if (problem !== null) throw refusal(problem.detail);
    const merged = [oldest, firstLayer, ...otherLayers] as const;
    const proving = [
      this.qemuImg.check(target, signal),
      this.merger.areEqual(chain.images.slice(0, at), merged, [target], signal),
      this.seal(repositoryPath, file, target, disk, signal),
    ] as const;
    await Promise.allSettled(proving);
    const [checked, equal, sealed] = await Promise.all(proving);
    if (!checked.ok) throw refusal(`did not pass qemu-img check: ${checked.detail}`);
    if (!equal) throw refusal('differs in content');
    const lowestDisk = (await this.files.readManifest(repositoryPath, dirname(lowest.file))).disks.find((each) => lowest.file.endsWith(`/${each.file}`));
    if (lowestDisk === undefined) throw new Error(`"${lowest.file}" is not in the manifest next to it`);
    return { ...disk, parent_change_id: lowestDisk.parent_change_id, backing_file: lowestDisk.backing_file, ...sealed };
  }

  private async merge(
    repositoryPath: string,
    disk: ManifestDisk,
    { oldest, layers, target }: { readonly oldest: string; readonly layers: ImageChain; readonly target: string },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const overlay = `${target}.overlay`;
    await this.onStorage(repositoryPath, `writing ${target}`, async () => {
      const calls = this.callsAt(repositoryPath);
      await calls.removeTree(target);
      await this.merger.copy(oldest, target, signal);
      await calls.createImage(overlay, disk.virtual_size_bytes, null);
      await this.merger.commit(target, layers, overlay, signal);
      await calls.removeTree(overlay);
    });
  }

  /** Makes a new file read-only and durable. @returns its facts as the manifest has them */
  private async seal(
    repositoryPath: string,
    file: string,
    target: string,
    disk: ManifestDisk,
    signal: AbortSignal | undefined,
  ): Promise<Pick<ManifestDisk, 'file_size_bytes' | 'sha256' | 'mtime_ns' | 'blocks'>> {
    return this.onStorage(repositoryPath, `rewriting ${file}`, async () => {
      const calls = this.callsAt(repositoryPath);
      await calls.changeMode(target, SEALED_FILE);
      await calls.syncToDisk(target);
      const { sha256, blocks } = await this.hash(target, disk, signal);
      const { size_bytes, mtime_ns } = await calls.lstat(target);
      return { file_size_bytes: size_bytes, sha256, mtime_ns, blocks };
    });
  }

  /** Writes the list of block digests of a new file next to it, if the old one has one. */
  private async hash(
    target: string,
    disk: ManifestDisk,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly sha256: string; readonly blocks: ManifestBlocks | null }> {
    if (disk.blocks === null) return { sha256: await this.hasher.sha256(target, signal), blocks: null };
    const path = `${target}.list`;
    const { sha256, written } = await this.hasher.hashes({ path: target, content: null, blocks: { kind: 'write', path } }, signal);
    if (written === null) throw new Error(`the blocks of "${target}" were not hashed`);
    const file = blocksFileOf(disk.file, sha256);
    const calls = this.callsAt(repositoryOf(target));
    await calls.syncToDisk(path);
    await calls.rename(path, join(dirname(target), file));
    return { sha256, blocks: { file, block_bytes: DIGEST_BLOCK_BYTES, ...written } };
  }

  /** Moves the new lists of block digests to the old ones, before a manifest names both. */
  private async placeLists(repositoryPath: string, folder: string, { disks }: Rewriting): Promise<void> {
    const final = join(repositoryPath, folder);
    await this.onStorage(repositoryPath, `replacing files of ${folder}`, async () => {
      const calls = this.callsAt(repositoryPath);
      await calls.changeMode(final, 0o755);
      for (const { blocks } of disks) {
        const list = blocks === null ? null : join(repositoryPath, temporaryFolder(folder), blocks.file);
        if (blocks !== null && list !== null && (await ifThere(calls.lstat(list))) !== null) await calls.rename(list, join(final, blocks.file));
      }
      await calls.syncToDisk(final);
    });
  }

  private async refuseAltered(
    repositoryPath: string,
    { file, backup_id, sha256 }: { readonly file: string; readonly backup_id: string; readonly sha256: string },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const path = join(repositoryPath, file);
    const found = await this.hasher.sha256(path, signal);
    if (found === sha256) return;
    throw new DomainError(
      'conflict',
      'restore_point_damaged',
      `The file "${path}" of restore point ${backup_id} was altered: its SHA-256 is ${found}; it was sealed with ${sha256}. Restore points that depend on it are not rewritten.`,
      { damaged_backup_id: backup_id, file, reason: 'file_altered' },
    );
  }

  /** From a manifest with the rewriting to the finished one. */
  private async finish(repositoryPath: string, folder: string, stored: Manifest, rewriting: Rewriting): Promise<RewrittenPoint> {
    const final = join(repositoryPath, folder);
    const temporary = join(repositoryPath, temporaryFolder(folder));
    const waiting: string[] = [];
    for (const disk of rewriting.disks) if (!(await this.isReplaced(repositoryPath, folder, disk))) waiting.push(disk.file);
    await this.onStorage(repositoryPath, `replacing files of ${folder}`, async () => {
      const calls = this.callsAt(repositoryPath);
      await calls.changeMode(final, 0o755);
      for (const file of waiting) await calls.rename(join(temporary, file), join(final, file));
      await calls.syncToDisk(final);
    });
    const finished = await this.writeManifest(repositoryPath, folder, finishedManifest(stored, rewriting));
    await this.tidy(repositoryPath, folder);
    await this.rememberHashes(repositoryPath, folder, rewriting);
    return finished;
  }

  private async isReplaced(repositoryPath: string, folder: string, { file, backing_file }: ManifestDisk): Promise<boolean> {
    const facts = await this.files.imageFacts(repositoryPath, join(folder, file));
    return facts !== null && facts.image !== null && facts.image.backing_filename === backing_file;
  }

  private async writeManifest(repositoryPath: string, folder: string, manifest: Manifest): Promise<RewrittenPoint> {
    await this.onStorage(repositoryPath, `writing the manifest of ${folder}`, async () => {
      await this.callsAt(repositoryPath).changeMode(join(repositoryPath, folder), 0o755);
    });
    return this.files.replaceManifest(repositoryPath, folder, manifest, this.signer());
  }

  /** Removes temporary files, and lists that the manifest does not name, and makes the folder read-only. @returns whether there were any */
  private async tidy(repositoryPath: string, folder: string): Promise<boolean> {
    const read = await this.files.readManifestAndHash(repositoryPath, folder);
    const lists = new Set(read.stored.disks.map(({ blocks }) => blocks?.file));
    const isLeft = (name: string): boolean => name.startsWith('.tmp-') || (name.endsWith(blocksFileOf('')) && !lists.has(name));
    await this.files.settleSignature(repositoryPath, folder);
    const final = join(repositoryPath, folder);
    const temporary = join(repositoryPath, temporaryFolder(folder));
    return this.onStorage(repositoryPath, `tidying ${folder}`, async () => {
      const calls = this.callsAt(repositoryPath);
      const left = [];
      if ((await ifThere(calls.lstat(temporary))) !== null) left.push(temporary);
      for (const { name } of await calls.list(final)) if (isLeft(name)) left.push(join(final, name));
      for (const path of left) await calls.removeTree(path);
      await calls.changeMode(final, SEALED_FOLDER);
      if (left.length > 0) await Promise.all([final, dirname(final)].map((path) => calls.syncToDisk(path)));
      return left.length > 0;
    });
  }

  /** Renaming changes a file's state, not its content. */
  private async rememberHashes(repositoryPath: string, folder: string, { disks }: Rewriting): Promise<void> {
    const states = new Map<string, ProvenFile>();
    for (const { file, sha256, mtime_ns, file_size_bytes } of disks) {
      const facts = await this.files.imageFacts(repositoryPath, join(folder, file));
      if (facts?.mtime_ns === mtime_ns && facts.size_bytes === file_size_bytes) states.set(join(folder, file), { state: facts.state, sha256 });
    }
    await this.proven.remember(repositoryPath, states);
  }

  private async onStorage<T>(repositoryPath: string, doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw storageError(error, repositoryPath, doing);
    }
  }
}

/** At the depth of the restore point's folder, so that relative names of backing files are the same. */
export function temporaryFolder(folder: string): string {
  return join(dirname(folder), `.tmp-rewrite-${folder.slice(folder.lastIndexOf('/') + 1)}`);
}
