import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import { WorkerError } from '../../lib/process/worker-process.js';
import type { QemuImg } from '../../lib/qemu/qemu-img.js';
import { DIGEST_BLOCK_BYTES } from '../hashing/block-digests.js';
import type { FileHasher } from '../hashing/file-hasher.js';
import type { ImageMerger } from '../pruning/image-merger.js';
import { finishedManifest } from '../repository-files/manifest-rewriting.plan.js';
import { blocksFileOf, type Manifest, type ManifestDisk, manifestText } from '../repository-files/manifest.js';
import { checkSignature, type ManifestSigner } from '../repository-files/manifest-signature.js';
import type { ProvenFile, ProvenFiles } from '../repository-files/proven-files.js';
import type { RepositoryFiles } from '../repository-files/repository-files.js';
import type { RestorePointVerifier } from '../repository-files/restore-point-verifier.js';
import { storageError } from '../repository-files/storage-error.js';
import { DIRECT_CALLS, type FileCalls } from '../storage-worker/file-calls.js';
import { OF_SOURCE } from './file-copy.js';
import type { FileCopier } from './file-copier.js';

export interface PointCopyRequest {
  /** Path of the repository that holds the restore point. */
  readonly sourcePath: string;
  readonly targetPath: string;
  /** The restore point's folder, the same in both repositories. */
  readonly folder: string;
  readonly backupId: string;
  /** SHA-256 of the source's manifest.json when the copy was planned. */
  readonly manifestSha256: string;
  /** Whether the copy becomes a full, because its parent is not at the target. */
  readonly flatten: boolean;
  /** null: not limited. */
  readonly bytesPerSecond: number | null;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly signal: AbortSignal;
  /** Called about once a second with the bytes copied and read back so far, together: twice the length of all files at the end. */
  readonly onProgress: (bytes: number) => void;
}

/** A copy whose files are complete, durable and compared, in its partial folder. */
export interface CopiedPoint {
  readonly manifest: Manifest;
  /** SHA-256 of the copy's manifest.json, lower-case hex. */
  readonly manifest_sha256: string;
  readonly written_bytes: number;
  /** Found at the target already, with the right content. */
  readonly kept_bytes: number;
}

/**
 * Copies restore points between repositories. The copy is the same in every byte, including manifest and signature. A flattened copy has the same content in files
 * of its own, and its manifest is signed by this hub.
 */
export class RestorePointCopier {
  constructor(
    private readonly files: RepositoryFiles,
    private readonly verifier: RestorePointVerifier,
    private readonly copier: FileCopier,
    private readonly merger: ImageMerger,
    private readonly qemuImg: QemuImg,
    private readonly hasher: FileHasher,
    private readonly proven: ProvenFiles,
    /** Returns the signer of now. */
    private readonly signer: () => ManifestSigner,
    private readonly callsAt: (repositoryPath: string) => FileCalls = () => DIRECT_CALLS,
  ) {}

  /**
   * Copies everything into the partial folder at the target, or completes what an interrupted call left there. Blocks that are there already are kept if their
   * digests prove them; a file that has to be flattened begins again.
   * @throws DomainError `source_altered`, `restore_point_damaged`, `restore_point_unsafe`, `copied_content_differs`, `copy_place_taken`, `manifest_signature_invalid`
   * (conflict), `restore_point_missing`, `manifest_broken` (gone), `source_rewritten`, `copy_differs`, `copy_interrupted`, `repository_unavailable` (unavailable),
   * `repository_full`; ToolError; the signal's reason
   */
  async transfer(request: PointCopyRequest): Promise<CopiedPoint> {
    const { sourcePath, targetPath, folder } = request;
    const read = await this.files.readManifestAndHash(sourcePath, folder);
    if (read.sha256 !== request.manifestSha256 || read.stored.rewriting !== undefined) {
      throw new DomainError('unavailable', 'source_rewritten', `The files of restore point ${request.backupId} were replaced. The copy is planned again.`);
    }
    const signature = await this.files.readSignature(sourcePath, folder);
    const verdict = checkSignature(read.json, read.stored, signature, []);
    if (verdict.kind === 'invalid') {
      throw new DomainError(
        'conflict',
        'manifest_signature_invalid',
        `The signature of the manifest of "${join(sourcePath, folder)}" is not valid: ${verdict.detail}. It is not copied.`,
        { folder },
      );
    }
    await this.files.reopen(targetPath, folder, request.backupId);
    const partial = await this.files.createPartial(targetPath, folder);
    const disks: ManifestDisk[] = [];
    let [written, kept, before] = [0, 0, 0];
    for (const disk of read.stored.disks) {
      const report = (bytes: number): void => request.onProgress(before + bytes);
      if (request.flatten && disk.backing_file !== null) {
        const flattened = await this.flatten(request, disk, partial, report);
        disks.push(flattened);
        written += flattened.file_size_bytes;
      } else {
        const result = await this.copyFile(request, disk, partial, report);
        disks.push(disk);
        written += result.written_bytes;
        kept += result.kept_bytes;
      }
      before += 2 * disk.file_size_bytes;
    }
    const flattenedDisks = disks.filter((disk, index) => disk !== read.stored.disks[index]);
    if (flattenedDisks.length === 0) return this.complete(request, read.stored, read.json, signature, { written, kept });
    const merged = await this.ancestors(sourcePath, read.stored);
    const flattened = finishedManifest(read.stored, { operation: 'flatten', at: request.at, merged, parent: null, disks: flattenedDisks });
    const signer = this.signer();
    if (flattened.format_version === 1) return this.complete(request, flattened, manifestText(flattened), null, { written, kept });
    const manifest = { ...flattened, signing_key: signer.key };
    const json = manifestText(manifest);
    return this.complete(request, manifest, json, signer.sign(json), { written, kept });
  }

  /** Makes the copy a restore point. May be repeated. */
  async seal(targetPath: string, folder: string, manifestSha256: string): Promise<void> {
    await this.files.sealCopy(targetPath, folder, manifestSha256);
    const { stored } = await this.files.readManifestAndHash(targetPath, folder);
    const states = new Map<string, ProvenFile>();
    for (const { file, sha256 } of stored.disks) {
      const facts = await this.files.imageFacts(targetPath, join(folder, file));
      if (facts !== null) states.set(join(folder, file), { state: facts.state, sha256 });
    }
    await this.proven.remember(targetPath, states);
  }

  private async copyFile(
    { sourcePath, targetPath, folder, bytesPerSecond, signal }: PointCopyRequest,
    disk: ManifestDisk,
    partial: string,
    onProgress: (bytes: number) => void,
  ): Promise<{ readonly written_bytes: number; readonly kept_bytes: number }> {
    const { file, blocks, sha256, mtime_ns } = disk;
    const source = join(sourcePath, folder);
    if ((await this.files.imageFacts(sourcePath, join(folder, file))) === null) {
      throw new DomainError('conflict', 'source_altered', `The file "${join(source, file)}" is missing. It is not copied.`, { path: join(source, file) });
    }
    const task = {
      source: join(source, file),
      target: join(partial, file),
      content: { size_bytes: disk.file_size_bytes, sha256, blocks },
      lists: blocks === null ? null : { source: join(source, blocks.file), target: join(partial, blocks.file) },
      mtime_ns,
      bytes_per_second: bytesPerSecond,
    };
    return this.copier.copy(task, signal, onProgress).catch((error: unknown) => rethrowFor(error, sourcePath, targetPath, `copying ${folder}/${file}`));
  }

  /** Writes the content of a disk's chain into one file. @returns its entry in the manifest */
  private async flatten(request: PointCopyRequest, disk: ManifestDisk, partial: string, onProgress: (bytes: number) => void): Promise<ManifestDisk> {
    const { sourcePath, targetPath, folder, signal } = request;
    const file = join(folder, disk.file);
    const sources = await this.verifier.chainOf(sourcePath, file);
    const chain = await this.files.checkChain(sourcePath, sources, false);
    const calls = this.callsAt(targetPath);
    const target = join(partial, disk.file);
    await this.onTarget(targetPath, `writing ${file}`, () => calls.removeTree(target));
    const working = [
      // A damaged file would get a new and valid hash.
      ...sources.map(({ backup_id, file: each, sha256 }) => this.refuseAltered(sourcePath, backup_id, each, sha256, signal)),
      this.merger.flatten(chain.images, target, request.bytesPerSecond, signal),
    ];
    await Promise.allSettled(working);
    await Promise.all(working);
    await this.onTarget(targetPath, `writing ${file}`, () => calls.syncToDisk(target));
    const listed = disk.blocks === null ? null : join(partial, blocksFileOf(disk.file));
    const [checked, equal, hashes] = await Promise.all([
      this.qemuImg.check(target, signal),
      this.merger.areEqual([], chain.images, [target], signal),
      this.hasher.hashes({ path: target, content: null, blocks: listed === null ? null : { kind: 'write', path: listed } }, signal),
    ]);
    if (!checked.ok || !equal) {
      const what = checked.ok ? 'differs in content' : `did not pass qemu-img check: ${checked.detail}`;
      throw new DomainError('conflict', 'copied_content_differs', `The flattened file "${target}" ${what}. Nothing was sealed.`, { file });
    }
    const { size_bytes, mtime_ns } = await this.onTarget(targetPath, `writing ${file}`, () => calls.lstat(target));
    const blocks = listed === null || hashes.written === null ? null : { file: blocksFileOf(disk.file), block_bytes: DIGEST_BLOCK_BYTES, ...hashes.written };
    const content = { size_bytes, sha256: hashes.sha256, blocks };
    const lists = listed === null ? null : { source: listed, target: listed };
    await this.copier
      .copy({ source: null, target, content, lists, mtime_ns, bytes_per_second: null }, signal, onProgress)
      .catch((error: unknown) => rethrowFor(error, sourcePath, targetPath, `reading ${file} back`));
    return { ...disk, parent_change_id: null, backing_file: null, file_size_bytes: size_bytes, sha256: hashes.sha256, mtime_ns, blocks, compression: null };
  }

  private async refuseAltered(repositoryPath: string, backupId: string, file: string, sealed: string, signal: AbortSignal): Promise<void> {
    const path = join(repositoryPath, file);
    const found = await this.hasher.sha256(path, signal);
    if (found === sealed) return;
    throw new DomainError(
      'conflict',
      'restore_point_damaged',
      `The file "${path}" of restore point ${backupId} was altered: its SHA-256 is ${found}; it was sealed with ${sealed}. It is not copied.`,
      { damaged_backup_id: backupId, file, reason: 'file_altered' },
    );
  }

  private async complete(
    { targetPath, folder }: PointCopyRequest,
    manifest: Manifest,
    json: string,
    signature: string | null,
    { written, kept }: { readonly written: number; readonly kept: number },
  ): Promise<CopiedPoint> {
    await this.files.completeCopy(targetPath, folder, manifest, json, signature);
    return { manifest, manifest_sha256: createHash('sha256').update(json).digest('hex'), written_bytes: written, kept_bytes: kept };
  }

  /** Ids of the restore points that a restore point depends on, newest first. */
  private async ancestors(repositoryPath: string, { parent }: Manifest): Promise<readonly string[]> {
    const ids: string[] = [];
    for (let next = parent; next !== null && !ids.includes(next.backup_id);) {
      ids.push(next.backup_id);
      next = (await this.files.readManifest(repositoryPath, next.folder)).parent;
    }
    return ids;
  }

  private async onTarget<T>(targetPath: string, doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw storageError(error, targetPath, doing);
    }
  }
}

/** An error of the system in the copying process, restated for the repository whose file it concerns. */
function rethrowFor(error: unknown, sourcePath: string, targetPath: string, doing: string): never {
  if (!(error instanceof WorkerError) || error.code === null) throw error;
  const ofSource = error.code.startsWith(OF_SOURCE);
  const code = ofSource ? error.code.slice(OF_SOURCE.length) : error.code;
  throw storageError(Object.assign(new Error(error.message), { code }), ofSource ? sourcePath : targetPath, doing);
}
