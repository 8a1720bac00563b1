import { join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import type { HealedFile } from '../../kernel/healed-file.js';
import { WorkerError } from '../../lib/process/worker-process.js';
import { MANIFEST_FILE, type ManifestDisk, SIGNATURE_FILE } from '../repository-files/manifest.js';
import type { ProvenFile, ProvenFiles } from '../repository-files/proven-files.js';
import type { ReadManifest, RepositoryFiles } from '../repository-files/repository-files.js';
import { storageError } from '../repository-files/storage-error.js';
import type { FileCopier } from './file-copier.js';

/** Another place that holds the same files. */
export interface HealingSource {
  readonly repository_id: string;
  readonly repository_path: string;
}

export interface HealRequest {
  readonly repositoryPath: string;
  /** The restore point's folder, the same in all places. */
  readonly folder: string;
  readonly backupId: string;
  /** SHA-256 of manifest.json as it was recorded; null: not known, so that the manifest cannot be healed. */
  readonly manifestSha256: string | null;
  /** Names in the folder. A list of digests is named by the file that it belongs to. */
  readonly damaged: readonly { readonly file: string; readonly part: 'file' | 'list' }[];
  readonly sources: readonly HealingSource[];
  readonly signal: AbortSignal;
}

/** New files in the folder of a restore point, complete and proven, that have not replaced the damaged ones yet. */
export interface PreparedHealing {
  readonly repositoryPath: string;
  readonly folder: string;
  readonly healed: readonly HealedFile[];
  /** Names in the folder that are replaced. */
  readonly names: readonly string[];
  readonly sha256: ReadonlyMap<string, string>;
}

const MAX_RANGES = 16;

/**
 * Heals the damaged files of a restore point from other places. A file is written again next to the damaged one, from the blocks that are sound there and those
 * of other places, each proven by its digest; it is read back, and then renamed over the damaged one.
 */
export class RestorePointHealer {
  constructor(
    private readonly files: RepositoryFiles,
    private readonly copier: FileCopier,
    private readonly proven: ProvenFiles,
  ) {}

  /**
   * Writes and proves the new files. The restore point stays as it is, so this may take long while others read it. Replaces what an interrupted call left.
   * @throws DomainError `nothing_sound`, `restore_point_locked` (conflict), `restore_point_being_rewritten`, `repository_unavailable` (unavailable), `repository_full`; the signal's reason
   */
  async prepare(request: HealRequest): Promise<PreparedHealing> {
    const { repositoryPath, folder } = request;
    const folderPath = await this.files.openForHealing(repositoryPath, folder);
    await this.refuseImmutable(request);
    const { read, healed } = await this.manifest(request, folderPath);
    if (read.stored.rewriting !== undefined) {
      throw new DomainError('unavailable', 'restore_point_being_rewritten', `The files of restore point ${request.backupId} are being replaced.`, { folder });
    }
    const names = healed.map(({ file }) => file.slice(folder.length + 1));
    const sha256 = new Map<string, string>();
    for (const disk of read.stored.disks) {
      const damage = request.damaged.filter(({ file }) => file === disk.file);
      if (damage.length === 0) continue;
      const onlyList = damage.every(({ part }) => part === 'list');
      healed.push(await this.disk(request, folderPath, disk, onlyList));
      if (!onlyList) names.push(disk.file);
      if (disk.blocks !== null) names.push(disk.blocks.file);
      sha256.set(join(folder, disk.file), disk.sha256);
    }
    return { repositoryPath, folder, healed, names, sha256 };
  }

  /** Puts the new files in the place of the damaged ones. Takes milliseconds. Readers that have the old ones open keep reading them. */
  async swap({ repositoryPath, folder, names, sha256 }: PreparedHealing): Promise<void> {
    await this.files.closeHealed(repositoryPath, folder, names);
    const states = new Map<string, ProvenFile>();
    for (const [file, digest] of sha256) {
      const facts = await this.files.imageFacts(repositoryPath, file);
      if (facts !== null) states.set(file, { state: facts.state, sha256: digest });
    }
    await this.proven.remember(repositoryPath, states);
  }

  /** Removes what an interrupted or failed `prepare` left. */
  async discard(repositoryPath: string, folder: string): Promise<void> {
    await this.files.closeHealed(repositoryPath, folder, []);
  }

  /** A keeper has made them immutable: nobody can replace them, or their lists of digests, before their lock ends. */
  private async refuseImmutable({ repositoryPath, folder, backupId, damaged }: HealRequest): Promise<void> {
    const immutable = await this.files.immutableFilesOf(repositoryPath, folder);
    const [locked] = damaged.filter(({ file }) => [...immutable].some((name) => name === file || name.startsWith(`${file}.`)));
    if (locked === undefined) return;
    const file = join(folder, locked.file);
    throw new DomainError(
      'conflict',
      'restore_point_locked',
      `The damaged file "${file}" of restore point ${backupId} is immutable and cannot be replaced before its lock ends. Restore from another repository.`,
      { backup_id: backupId, file },
    );
  }

  /** The manifest that was recorded, from any place; it and its signature are written again where they differ. */
  private async manifest(request: HealRequest, folderPath: string): Promise<{ readonly read: ReadManifest; readonly healed: HealedFile[] }> {
    const { repositoryPath, folder, manifestSha256 } = request;
    const own = await this.manifestAt(repositoryPath, folder, manifestSha256);
    const isSigned = own !== null && (await this.files.signatureOf(repositoryPath, folder, own, [])).kind !== 'invalid';
    if (own !== null && isSigned) return { read: own, healed: [] };
    for (const source of request.sources) {
      const read = manifestSha256 === null ? null : await this.manifestAt(source.repository_path, folder, manifestSha256);
      if (read === null || (await this.files.signatureOf(source.repository_path, folder, read, [])).kind === 'invalid') continue;
      const signature = await this.files.readSignature(source.repository_path, folder);
      const written = [...(own === null ? [[MANIFEST_FILE, read.json]] : []), ...(signature === null ? [] : [[SIGNATURE_FILE, signature]])] as const;
      const healed: HealedFile[] = [];
      for (const [name, text] of written) {
        if (name === undefined || text === undefined) continue;
        await this.files.writeHealed(repositoryPath, folderPath, name, text);
        healed.push({ file: join(folder, name), from_repository_ids: [source.repository_id], healed_bytes: Buffer.byteLength(text), ranges: [] });
      }
      return { read, healed };
    }
    throw new DomainError('conflict', 'nothing_sound', `No other place has the manifest of restore point ${request.backupId} as it was sealed.`, {
      path: join(folderPath, MANIFEST_FILE),
    });
  }

  /** null: it cannot be read, or is not the recorded one */
  private async manifestAt(repositoryPath: string, folder: string, sha256: string | null): Promise<ReadManifest | null> {
    try {
      const read = await this.files.readManifestAndHash(repositoryPath, folder);
      return sha256 === null || read.sha256 === sha256 ? read : null;
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'gone') return null;
      throw error;
    }
  }

  private async disk({ repositoryPath, folder, sources, signal }: HealRequest, folderPath: string, disk: ManifestDisk, onlyList: boolean): Promise<HealedFile> {
    const { file, blocks } = disk;
    const at = (path: string, name: string): string => join(path, folder, name);
    const task = {
      damaged: join(folderPath, file),
      sources: sources.map(({ repository_path }) => at(repository_path, file)),
      target: this.files.healedPath(folderPath, file),
      content: { size_bytes: disk.file_size_bytes, sha256: disk.sha256, blocks },
      lists:
        blocks === null
          ? null
          : {
              candidates: [folderPath, ...sources.map(({ repository_path }) => join(repository_path, folder))].map((path) => join(path, blocks.file)),
              target: this.files.healedPath(folderPath, blocks.file),
            },
      only_list: onlyList,
      mtime_ns: disk.mtime_ns,
    };
    const ranges = await this.copier.heal(task, signal).catch((error: unknown) => {
      if (!(error instanceof WorkerError) || error.code === null) throw error;
      throw storageError(Object.assign(new Error(error.message), { code: error.code }), repositoryPath, `healing ${folder}/${file}`);
    });
    const used = [...new Set(ranges.map(({ source }) => source))].flatMap((index) => sources[index]?.repository_id ?? []);
    return {
      file: join(folder, onlyList && blocks !== null ? blocks.file : file),
      from_repository_ids: onlyList ? sources.slice(0, 1).map(({ repository_id }) => repository_id) : used,
      healed_bytes: ranges.reduce((sum, { length_bytes }) => sum + length_bytes, 0),
      ranges: ranges.slice(0, MAX_RANGES).map(({ offset_bytes, length_bytes }) => ({ offset_bytes, length_bytes })),
    };
  }
}
