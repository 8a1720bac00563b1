import { dirname, join, normalize } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import type { ImageFacts } from '../storage-worker/file-calls.js';
import type { BlockComparison, ByteRange } from '../hashing/block-digests.js';
import { FileHasher, HashingFailedError } from '../hashing/file-hasher.js';
import type { BlockTask } from '../hashing/sha256.process.js';
import type { NoteVerifier } from '../../lib/ledger/signed-note.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import type { SealedFile } from './chain-check.plan.js';
import { type Manifest, MANIFEST_FILE, type ManifestDisk, SIGNATURE_FILE } from './manifest.js';
import type { SignatureVerdict } from './manifest-signature.js';
import { ProvenFiles } from './proven-files.js';
import { type ReadManifest, RepositoryFiles } from './repository-files.js';

export type FindingCode =
  | 'restore_point_missing'
  | 'manifest_broken'
  | 'manifest_differs'
  | 'manifest_signature_invalid'
  | 'file_missing'
  | 'file_truncated'
  | 'file_altered'
  | 'file_unreadable'
  | 'digests_damaged'
  | 'parent_differs'
  | 'image_damaged';

/** One problem of one restore point. */
export type Finding = {
  readonly code: FindingCode;
  /** null when not even the backup is known. */
  readonly backup_id: string | null;
  /** The restore point's folder, relative to the repository. */
  readonly folder: string;
  /** Relative to the repository; null when the finding concerns the restore point as a whole. */
  readonly file: string | null;
  /** For humans; names file and restore point. */
  readonly detail: string;
  /** The damaged parts of the file, at most the first 16; empty: not known. */
  readonly ranges: readonly ByteRange[];
};

/** Facts about a restore point from a source other than the repository. */
export interface ExpectedPoint {
  readonly backup_id: string;
  /** SHA-256 of manifest.json; null when unknown. */
  readonly manifest_sha256: string | null;
  readonly files: readonly { readonly file: string; readonly size_bytes: number; readonly sha256: string }[];
}

export interface VerifyOptions {
  readonly expected?: ExpectedPoint;
  /** Keys of hubs. If there is one, every signature must be by one of them. */
  readonly keys?: readonly NoteVerifier[];
  readonly signal?: AbortSignal;
}

export interface PointVerdict {
  readonly folder: string;
  /** null when the manifest cannot be read. */
  readonly signature: SignatureVerdict | null;
  /** null when it cannot be read. */
  readonly manifest: Manifest | null;
  readonly findings: readonly Finding[];
  readonly files_checked: number;
  readonly bytes_checked: number;
}

/** Checks restore points against their manifests, their parents and, when available, a hub's records. Reads everything and changes nothing. */
@Injectable()
export class RestorePointVerifier {
  constructor(
    private readonly files: RepositoryFiles,
    private readonly qemuImg: QemuImg,
    private readonly hasher: FileHasher,
    private readonly proven: ProvenFiles,
  ) {}

  /**
   * Checks one restore point's own files, and that it has the right parent.
   * @throws DomainError repository_unavailable; the signal's reason
   */
  async verifyPoint(repositoryPath: string, folder: string, options: VerifyOptions = {}): Promise<PointVerdict> {
    let read: ReadManifest;
    try {
      read = await this.files.readManifestAndHash(repositoryPath, folder);
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'gone') throw error;
      const code = error.code === 'manifest_broken' ? 'manifest_broken' : 'restore_point_missing';
      const finding = {
        code,
        backup_id: options.expected?.backup_id ?? null,
        folder,
        file: join(folder, MANIFEST_FILE),
        detail: error.message,
        ranges: [],
      } as const;
      return { folder, signature: null, manifest: null, findings: [finding], files_checked: 0, bytes_checked: 0 };
    }
    const { manifest } = read;
    const signature = await this.files.signatureOf(repositoryPath, folder, read, options.keys ?? []);
    const findings = [
      ...againstRecord(repositoryPath, folder, manifest, read.sha256, options.expected),
      ...againstSignature(repositoryPath, folder, manifest, signature, options.keys ?? []),
      ...(await this.againstParent(repositoryPath, folder, manifest)),
      ...(await Promise.all(manifest.disks.map((disk) => this.verifyDisk(repositoryPath, folder, manifest, disk, options)))).flat(),
    ];
    return {
      folder,
      signature,
      manifest,
      findings,
      files_checked: manifest.disks.length,
      bytes_checked: manifest.disks.reduce((sum, disk) => sum + disk.file_size_bytes, 0),
    };
  }

  /** Checks a restore point and all its ancestors according to the manifests, newest first. Stops at a manifest that cannot be read. */
  async verifyChain(repositoryPath: string, folder: string, signal?: AbortSignal): Promise<readonly PointVerdict[]> {
    const verdicts: PointVerdict[] = [];
    for (let next: string | null = folder; next !== null && verdicts.every((verdict) => verdict.folder !== next);) {
      const verdict: PointVerdict = await this.verifyPoint(repositoryPath, next, { signal });
      verdicts.push(verdict);
      next = verdict.manifest?.parent?.folder ?? null;
    }
    return verdicts;
  }

  private async againstParent(repositoryPath: string, folder: string, manifest: Manifest): Promise<readonly Finding[]> {
    const { parent, backup_id } = manifest;
    if (parent === null) return [];
    try {
      const found = await this.files.readManifest(repositoryPath, parent.folder);
      if (found.backup_id === parent.backup_id && found.chain_id === manifest.chain_id) return [];
      const detail = `The parent of restore point ${backup_id} is ${parent.backup_id}, but "${join(repositoryPath, parent.folder)}" holds ${found.backup_id} of chain ${found.chain_id}.`;
      return [{ code: 'parent_differs', backup_id, folder, file: join(folder, MANIFEST_FILE), detail, ranges: [] }];
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'gone') throw error;
      // The parent is damaged; code that checks the whole chain reports its descendants.
      const code = error.code === 'manifest_broken' ? 'manifest_broken' : 'restore_point_missing';
      const detail = `The parent of restore point ${backup_id}, ${parent.backup_id}, cannot be read: ${error.message}`;
      return [{ code, backup_id: parent.backup_id, folder: parent.folder, file: join(parent.folder, MANIFEST_FILE), detail, ranges: [] }];
    }
  }

  private async verifyDisk(
    repositoryPath: string,
    folder: string,
    manifest: Manifest,
    disk: ManifestDisk,
    options: VerifyOptions,
  ): Promise<readonly Finding[]> {
    const file = join(folder, disk.file);
    const path = join(repositoryPath, file);
    const known = options.expected?.files.find((each) => each.file === disk.file);
    const sealed = { size_bytes: known?.size_bytes ?? disk.file_size_bytes, sha256: known?.sha256 ?? disk.sha256 };
    const finding = (code: FindingCode, what: string, ranges: readonly ByteRange[] = []): readonly Finding[] => [
      { code, backup_id: manifest.backup_id, folder, file, detail: `The file "${path}" of restore point ${manifest.backup_id} ${what}.`, ranges },
    ];
    if ((await this.files.look(repositoryPath, file)) === null) return finding('file_missing', 'is missing');
    const found = await this.files.imageFacts(repositoryPath, file);
    if (found === null) return finding('file_altered', 'is no longer a regular file');
    if (found.size_bytes < sealed.size_bytes) return finding('file_truncated', `has ${found.size_bytes} bytes; it was sealed with ${sealed.size_bytes}`);
    if (found.size_bytes > sealed.size_bytes) return finding('file_altered', `has grown to ${found.size_bytes} bytes; it was sealed with ${sealed.size_bytes}`);
    let listProblem: string | null;
    try {
      const { sha256, compared } = await this.hasher.hashes({ path, content: null, blocks: comparisonOf(repositoryPath, folder, disk) }, options.signal);
      if (sha256 !== sealed.sha256) {
        const ranges = compared?.kind === 'compared' ? compared.differing : [];
        const altered = `was altered${rangesText(ranges)}: its SHA-256 is ${sha256}; it was sealed with ${sealed.sha256}`;
        return finding('file_altered', altered, ranges);
      }
      listProblem = problemOfList(compared);
    } catch (error) {
      if (error instanceof HashingFailedError && error.saysOfTheFile) return finding('file_unreadable', `cannot be read: ${error.message}`);
      throw error;
    }
    const after = await this.files.imageFacts(repositoryPath, file);
    if (after?.state !== found.state) return finding('file_altered', 'was changed while it was read');
    const findings = await this.verifyImage(repositoryPath, folder, manifest, disk, found, finding, options.signal);
    if (findings.length === 0) await this.proven.remember(repositoryPath, new Map([[file, { state: found.state, sha256: sealed.sha256 }]]));
    return listProblem === null
      ? findings
      : [...findings, ...finding('digests_damaged', `is sound, but the digests of its blocks are not usable: ${listProblem}`)];
  }

  private async parentMayBeOpened(repositoryPath: string, file: string): Promise<boolean> {
    try {
      await this.files.checkChain(repositoryPath, await this.chainOf(repositoryPath, file), false);
      return true;
    } catch (error) {
      if (error instanceof DomainError && ['conflict', 'gone'].includes(error.kind)) return false;
      throw error;
    }
  }

  /** The files that a disk's file depends on according to the manifests, oldest first. @param file relative to the repository */
  async chainOf(repositoryPath: string, file: string): Promise<readonly SealedFile[]> {
    const sealed: SealedFile[] = [];
    for (let next: string | null = file; next !== null;) {
      const at: string = next;
      const folder = dirname(at);
      const manifest = await this.files.readManifest(repositoryPath, folder);
      const disk = manifest.disks.find((each) => join(folder, each.file) === at);
      if (disk === undefined || sealed.some((each) => each.file === at)) {
        throw new DomainError('conflict', 'chain_broken', `"${at}" is not described by the manifest next to it, or depends on itself.`, { file: at });
      }
      sealed.unshift({ backup_id: manifest.backup_id, file: at, size_bytes: disk.file_size_bytes, sha256: disk.sha256 });
      next = disk.backing_file === null ? null : normalize(join(folder, disk.backing_file));
    }
    return sealed;
  }

  /** Checks the header first: qemu's tools open every file that a header names. */
  private async verifyImage(
    repositoryPath: string,
    folder: string,
    manifest: Manifest,
    disk: ManifestDisk,
    facts: ImageFacts,
    finding: (code: FindingCode, what: string) => readonly Finding[],
    signal: AbortSignal | undefined,
  ): Promise<readonly Finding[]> {
    const file = join(folder, disk.file);
    const path = join(repositoryPath, file);
    const backing = disk.backing_file === null ? null : normalize(join(folder, disk.backing_file));
    if (backing !== null && ![manifest.parent?.folder, manifest.rewriting?.parent?.folder].includes(dirname(backing)))
      return finding('parent_differs', `has the backing file "${backing}", which is not its parent's`);
    const problem = await this.files.fileProblem(repositoryPath, folder, manifest.backup_id, disk, false);
    if (problem !== null) return finding(problem.reason === 'backing_file_differs' ? 'parent_differs' : 'image_damaged', problem.detail);
    if (facts.image !== null && facts.image.virtual_size !== disk.virtual_size_bytes)
      return finding('image_damaged', `is a disk of ${facts.image.virtual_size} bytes instead of ${disk.virtual_size_bytes}`);
    // The check opens the whole chain; problems there are findings of their own.
    if (backing !== null && !(await this.parentMayBeOpened(repositoryPath, backing))) return [];
    try {
      const check = await this.qemuImg.check(path, signal);
      return check.ok ? [] : finding('image_damaged', `did not pass qemu-img check: ${check.detail}`);
    } catch (error) {
      // A check that did not finish proves nothing about the image: its storage may hang.
      if (!(error instanceof ToolError) || error.code !== 'tool_failed') throw error;
      return finding('image_damaged', `cannot be opened: ${error.message}`);
    }
  }
}

function againstSignature(
  repositoryPath: string,
  folder: string,
  { backup_id }: Manifest,
  verdict: SignatureVerdict,
  keys: readonly NoteVerifier[],
): readonly Finding[] {
  const file = join(folder, SIGNATURE_FILE);
  const invalid = (what: string): readonly Finding[] => {
    const detail = `The signature "${join(repositoryPath, file)}" of restore point ${backup_id} is not valid: ${what}.`;
    return [{ code: 'manifest_signature_invalid', backup_id, folder, file, detail, ranges: [] }];
  };
  switch (verdict.kind) {
    case 'invalid':
      return invalid(verdict.detail);
    case 'unknown_key':
      return keys.length === 0 ? [] : invalid(`it is by ${verdict.key}, which is not one of the given keys`);
    case 'trusted':
    case 'unsigned':
      return [];
  }
}

function comparisonOf(repositoryPath: string, folder: string, { blocks }: ManifestDisk): BlockTask | null {
  return blocks === null ? null : { kind: 'compare', path: join(repositoryPath, folder, blocks.file), sealed: blocks };
}

/** Why the list cannot be the one of the file, whose SHA-256 is right; null: nothing is wrong, or there is none. */
function problemOfList(compared: BlockComparison | null): string | null {
  if (compared === null) return null;
  if (compared.kind === 'list_unusable') return compared.detail;
  return compared.blocks_differing === 0 ? null : `${compared.blocks_differing} of them differ`;
}

/** A clause for the first damaged range. */
function rangesText([first, ...others]: readonly ByteRange[]): string {
  if (first === undefined) return '';
  const more = others.length === 0 ? '' : `, and in ${others.length} more range(s)`;
  return ` in the ${first.length_bytes} bytes from byte ${first.offset_bytes}${more}`;
}

function againstRecord(repositoryPath: string, folder: string, manifest: Manifest, sha256: string, expected: ExpectedPoint | undefined): readonly Finding[] {
  if (expected === undefined) return [];
  const file = join(folder, MANIFEST_FILE);
  const differs = (what: string): Finding => ({
    code: 'manifest_differs',
    backup_id: expected.backup_id,
    folder,
    file,
    detail: `"${join(repositoryPath, file)}" of restore point ${expected.backup_id} differs from the hub's record: ${what}.`,
    ranges: [],
  });
  if (manifest.backup_id !== expected.backup_id) return [differs(`it belongs to backup ${manifest.backup_id}`)];
  if (expected.manifest_sha256 !== null && sha256 !== expected.manifest_sha256)
    return [differs(`its SHA-256 is ${sha256} instead of ${expected.manifest_sha256}`)];
  return expected.files.flatMap((known) => {
    const disk = manifest.disks.find((each) => each.file === known.file);
    return disk?.sha256 === known.sha256 && disk.file_size_bytes === known.size_bytes ? [] : [differs(`it describes ${known.file} differently`)];
  });
}
