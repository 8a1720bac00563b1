import { dirname, join } from 'node:path';
import { Inject, Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { RecordRestorePoint } from '../../chains/model/chain.commands.js';
import { lockedFrom } from '../../../../storage/repository-files/lock-end.plan.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ReleaseJobPorts } from '../../../exports/nbd-ports/model/nbd-port.commands.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';
import { Ledger } from '../../../history/ledger/model/ledger.reader.js';
import { programVersion } from '../../../../lib/config/version.js';
import { DIGEST_BLOCK_BYTES } from '../../../../storage/hashing/block-digests.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { FileHasher, HashingFailedError } from '../../../../storage/hashing/file-hasher.js';
import type { ContentTask } from '../../../../storage/hashing/stored-content.js';
import { LiveProgress } from '../model/live-progress.registry.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { NodeCredentials } from '../../../../lib/signed-calls/node-credentials.js';
import { QemuImg } from '../../../../lib/qemu/qemu-img.js';
import { blocksFileOf, type Manifest, MANIFEST_FORMAT_VERSION, type ManifestDisk } from '../../../../storage/repository-files/manifest.js';
import { ProvenFiles } from '../../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { rethrowSilence, storageError } from '../../../../storage/repository-files/storage-error.js';
import { type BackupPlannedV2, backupStream } from '../model/backup.events.js';
import type { BackupRun, RunDisk } from '../model/backup.state.js';
import { LocateRun } from './locate-run.step.js';
import { backingPath } from './nbd-targets.plan.js';
import { RunRecorder } from './record-run.recorder.js';

interface ExaminedDisk {
  readonly disk: ManifestDisk;
  /** See ImageFacts; null: the file changed while it was being hashed. */
  readonly state: string | null;
}

interface Examination {
  readonly disks: Promise<readonly ExaminedDisk[]>;
  /** Aborted when the result is no longer needed. */
  readonly abandoned: AbortController;
  failed: boolean;
}

/** Turns copied disks into a restore point: checked, hashed, on stable storage, read-only, described by its manifest, and at the head of its chain. */
@Injectable()
export class SealRun {
  private readonly logger = loggerFor('SealRun');
  /** By backup, the examination of its files that must finish before sealing. */
  private readonly examinations = new Map<string, Examination>();

  constructor(
    private readonly commands: CommandBus,
    private readonly locate: LocateRun,
    private readonly recorder: RunRecorder,
    private readonly clock: Clock,
    private readonly store: EventStore,
    private readonly files: RepositoryFiles,
    private readonly qemuImg: QemuImg,
    private readonly hasher: FileHasher,
    private readonly workers: StorageWorkers,
    private readonly proven: ProvenFiles,
    private readonly live: LiveProgress,
    private readonly credentials: NodeCredentials,
    private readonly ledger: Ledger,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  /** Starts to check, hash and sync the files while the node still releases its source. The exports are stopped, so the files are final. Returns at once. */
  async examine(run: BackupRun): Promise<void> {
    const { plan, request } = run;
    if (plan === null || run.instant === null || this.examinations.has(request.backup_id)) return;
    const repositoryPath = await this.locate.repositoryPath(run);
    if (repositoryPath !== null) this.examination(run, plan, repositoryPath);
  }

  /** Ends an examination that is no longer needed. */
  forget(backupId: string): void {
    this.examinations.get(backupId)?.abandoned.abort(new Error('the files of the backup no longer need to be examined'));
    this.examinations.delete(backupId);
  }

  /** Releases the ports meanwhile, because the exports are stopped and sealing a large disk takes a while. */
  async seal(run: BackupRun): Promise<void> {
    const { plan, request } = run;
    if (plan === null || run.instant === null) throw new Error(`backup ${request.backup_id} has nothing to seal`);
    const [repositoryPath, vm] = await Promise.all([this.locate.repositoryPath(run), this.locate.vm(run)]);
    if (repositoryPath === null) throw new DomainError('conflict', 'repository_not_found', 'The repository was removed while the backup ran.');

    if (this.credentials.ofNode(request.node_id) !== null && run.disks.some(({ transfer }) => transfer.content_digest === null)) {
      this.logger.warn('the node reported no content digest for at least one disk, so the backup is sealed without comparing that disk; update the node', {
        backup_id: request.backup_id,
        node_id: request.node_id,
      });
    }
    const context = await this.recorder.context(request.backup_id);
    const [manifest] = await Promise.all([
      this.manifestOf(run, plan, run.instant, repositoryPath, vm ?? { source: 'image', source_ref: '' }),
      this.commands.execute(new ReleaseJobPorts(request.backup_id, false, context)),
    ]);
    const { manifest_sha256 } = await this.files.seal({ repositoryPath, folder: plan.folder, manifest, signer: this.ledger.manifestSigner });
    const files = manifest.disks.map(({ disk_id, file, file_size_bytes, sha256, mtime_ns }) => ({
      disk_id,
      file,
      size_bytes: file_size_bytes,
      sha256,
      mtime_ns,
    }));
    await Promise.all([
      this.rememberProofs(request.backup_id, plan.folder, repositoryPath),
      this.recorder.record(request.backup_id, {
        kind: 'record-sealed',
        data: {
          folder: plan.folder,
          files,
          manifest_sha256,
          sealed_at: manifest.sealed_at,
          ...(manifest.locked_until === null ? {} : { locked_until: manifest.locked_until }),
        },
      }),
    ]);
  }

  /** Remembers the hashes, so that the first restore need not read the files again. */
  private async rememberProofs(backupId: string, folder: string, repositoryPath: string): Promise<void> {
    const examined = (await this.examinations.get(backupId)?.disks.catch(() => [])) ?? [];
    const proofs = examined.flatMap(({ disk, state }) => (state === null ? [] : [[`${folder}/${disk.file}`, { state, sha256: disk.sha256 }] as const]));
    await this.proven.remember(repositoryPath, new Map(proofs));
  }

  /** Records the chain first, then the backup, so that the next incremental can be based on any completed backup. */
  async complete(run: BackupRun): Promise<void> {
    const { plan, request } = run;
    if (plan === null) throw new Error(`backup ${request.backup_id} has no plan to complete`);
    const context = await this.recorder.context(request.backup_id);
    const { chain_id, parent_backup_id } = plan;
    const { vm_id, repository_id, backup_id } = request;
    const lockedUntil = run.sealed?.locked_until ?? null;
    await this.commands.execute(new RecordRestorePoint(chain_id, vm_id, repository_id, backup_id, parent_backup_id, context, false, lockedUntil));
    await this.recorder.record(request.backup_id, { kind: 'complete', completed_at: this.clock.iso() });
  }

  private async manifestOf(...described: Parameters<SealRun['describe']>): Promise<Manifest> {
    const [run, , , repositoryPath] = described;
    return (await this.sealedBefore(repositoryPath, run)) ?? (await this.describe(...described));
  }

  /** Finds a restore point that a killed hub has renamed to its final name but not recorded. */
  private async sealedBefore(repositoryPath: string, run: BackupRun): Promise<Manifest | null> {
    try {
      const manifest = await this.files.readManifest(repositoryPath, run.plan?.folder ?? '');
      return manifest.backup_id === run.request.backup_id ? manifest : null;
    } catch (error) {
      if (error instanceof DomainError && error.code === 'restore_point_missing') return null;
      throw error;
    }
  }

  private async describe(
    run: BackupRun,
    plan: BackupPlannedV2['data'],
    instant: string,
    repositoryPath: string,
    vm: { readonly source: string; readonly source_ref: string },
  ): Promise<Manifest> {
    const { request } = run;
    const disks = (await this.examination(run, plan, repositoryPath).disks).map(({ disk }) => disk);
    let position = '';
    const sealed_at = this.clock.now();
    const immutableDays = await this.locate.immutableDays(run);
    for await (const newest of this.store.read(backupStream(request.backup_id), { direction: 'backwards', limit: 1 })) position = newest.position;
    return {
      format_version: MANIFEST_FORMAT_VERSION,
      hub_id: this.hubId,
      repository_id: request.repository_id,
      backup_id: request.backup_id,
      backup_type: plan.backup_type,
      full_reason: plan.full_reason,
      chain_id: plan.chain_id,
      parent: plan.parent_backup_id === null ? null : { backup_id: plan.parent_backup_id, folder: parentFolderOf(plan.disks) },
      vm: { vm_id: request.vm_id, name: request.vm_name, source: vm.source, source_ref: vm.source_ref, node_id: request.node_id },
      instant,
      started_at: plan.started_at,
      sealed_at: sealed_at.toISOString(),
      disks,
      definition: plan.definition ?? null,
      event_position: position,
      ledger_checkpoint: await this.newestCheckpoint(request.backup_id),
      // That of the signer, at sealing.
      signing_key: null,
      encryption: null,
      tools: { sendense: programVersion(), qemu_img: await this.qemuImg.version() },
      tiers: [],
      locked_until: lockedFrom(sealed_at.getTime(), immutableDays),
      rewrites: [],
    };
  }

  /** null: there is none at the moment, which must not fail a backup. */
  private async newestCheckpoint(backupId: string): Promise<string | null> {
    try {
      return await this.ledger.checkpoint();
    } catch (error) {
      this.logger.warn('the manifest has no checkpoint of the ledger, because none could be signed', { backup_id: backupId, error });
      return null;
    }
  }

  private examination(run: BackupRun, plan: BackupPlannedV2['data'], repositoryPath: string): Examination {
    const { backup_id } = run.request;
    const known = this.examinations.get(backup_id);
    // A failed examination is repeated; if it fails again, it gives the cause.
    if (known !== undefined && !known.failed) return known;
    const abandoned = new AbortController();
    const disks = this.workers
      .whileTheyAnswer(
        [repositoryPath],
        (signal) => Promise.all(run.disks.map((disk) => this.describeDisk(backup_id, disk, plan, repositoryPath, signal))),
        abandoned.signal,
      )
      .catch((error: unknown) => rethrowSilence(error, repositoryPath));
    const examination: Examination = { disks, abandoned, failed: false };
    // A failure surfaces when seal() awaits this promise.
    disks.catch(() => {
      examination.failed = true;
    });
    this.examinations.set(backup_id, examination);
    return examination;
  }

  /** Forces the file to stable storage while it is being hashed. The exports write without flushing, because the file has no value before this point. */
  private async describeDisk(
    backupId: string,
    disk: RunDisk,
    plan: BackupPlannedV2['data'],
    repositoryPath: string,
    abandoned: AbortSignal,
  ): Promise<ExaminedDisk> {
    const { planned } = disk;
    const file = join(this.files.partialFolder(plan.folder), planned.file);
    const path = join(repositoryPath, file);
    await this.files.makeReadOnly(repositoryPath, file);
    const before = await this.files.imageFacts(repositoryPath, file);
    const blocksFile = blocksFileOf(planned.file);
    const task = { path, content: this.contentTask(backupId, disk), blocks: { kind: 'write', path: join(dirname(path), blocksFile) } } as const;
    const [check, hashes] = await Promise.all([
      this.qemuImg.check(path, abandoned),
      this.hasher.hashes(task, abandoned).catch((error: unknown) => rethrowHashing(error, planned.disk_key, repositoryPath)),
      this.workers.at(repositoryPath).syncToDisk(path),
    ]);
    if (!check.ok) {
      throw new DomainError('conflict', 'target_damaged', `The file of disk "${planned.disk_key}" failed qemu-img check: ${check.detail}`, {
        disk_key: planned.disk_key,
        errors: check.errors,
      });
    }
    if (hashes.content_digest !== disk.transfer.content_digest) throw contentDiffers(planned.disk_key);
    const written = await this.files.imageFacts(repositoryPath, file);
    if (written === null) throw new DomainError('conflict', 'target_missing', `The file "${path}" of disk "${planned.disk_key}" no longer exists.`);
    const { written: list } = hashes;
    if (list === null) throw new Error(`the blocks of "${path}" were not hashed`);
    const described: ManifestDisk = {
      disk_id: planned.disk_id,
      disk_key: planned.disk_key,
      file: planned.file,
      virtual_size_bytes: planned.size_bytes,
      source_format: planned.source_format,
      change_id: disk.change_id,
      parent_change_id: planned.parent_change_id,
      file_size_bytes: written.size_bytes,
      sha256: hashes.sha256,
      mtime_ns: written.mtime_ns,
      backing_file: planned.parent_file === null ? null : backingPath(plan.folder, planned.parent_file),
      blocks: { file: blocksFile, block_bytes: DIGEST_BLOCK_BYTES, count: list.count, root: list.root },
      compression: null,
    };
    return { disk: described, state: before?.state === written.state ? written.state : null };
  }

  /** null: the node has not made a digest of this disk. */
  private contentTask(backupId: string, { planned, transfer }: RunDisk): ContentTask | null {
    if (transfer.content_digest === null) return null;
    const key = this.live.heard(backupId)?.report.disks.find(({ disk_key }) => disk_key === planned.disk_key)?.content?.key;
    if (key === undefined) {
      const detail = `The node reported a digest of disk "${planned.disk_key}" earlier but reports none now.`;
      throw new DomainError('conflict', 'node_inconsistent_report', detail, { disk_key: planned.disk_key });
    }
    return { key, onto: planned.parent_file === null ? 'new' : 'parent' };
  }
}

/** Reports a file that a qemu-nbd of the hub would never write as damaged. */
function rethrowHashing(error: unknown, diskKey: string, repositoryPath: string): never {
  if (error instanceof HashingFailedError && error.code === 'qcow2_unreadable') {
    throw new DomainError('conflict', 'target_damaged', `The file of disk "${diskKey}" could not be compared with what the node sent: ${error.message}`, {
      disk_key: diskKey,
    });
  }
  throw storageError(error, repositoryPath, `hashing disk "${diskKey}"`);
}

function contentDiffers(diskKey: string): DomainError {
  const detail =
    `The file of disk "${diskKey}" does not match what the node sent: it was altered in transit, or in the repository while the backup was running. ` +
    'Nothing was sealed. Find out who can write to the repository before you start the backup again.';
  return new DomainError('conflict', 'content_differs', detail, { disk_key: diskKey });
}

/** A disk added since the parent has no parent file, but at least one disk has one. */
function parentFolderOf(disks: BackupPlannedV2['data']['disks']): string {
  const parentFile = disks.find((disk) => disk.parent_file !== null)?.parent_file ?? '';
  return parentFile.slice(0, parentFile.lastIndexOf('/'));
}
