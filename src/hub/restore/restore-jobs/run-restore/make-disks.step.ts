import { basename, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { DamageFinding } from '../../../backup/chains/model/chain.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { compareArgv, convertArgv, copyFileArgv } from '../../../../lib/qemu/disk-copy.plan.js';
import type { ImageChain } from '../../../../lib/qemu/image-chain.plan.js';
import { QemuImg } from '../../../../lib/qemu/qemu-img.js';
import type { FileCalls } from '../../../../storage/storage-worker/file-calls.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { errnoOf, isOutOfSpace } from '../../../../lib/process/system-error.js';
import { rethrowSilence } from '../../../../storage/repository-files/storage-error.js';
import type { RestoreDisk, RestoreJobRequested, SourceFile } from '../model/restore-job.events.js';
import type { KnownRestoreJob } from '../model/restore-job.state.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { SourceCheck, sourcesOf } from '../model/source-check.service.js';
import { restoreJobDirectory, workingFolder } from '../model/run-directories.plan.js';
import { RestoreRecorder } from './record-restore.recorder.js';
import { SupervisedProgram } from './supervised-program.runner.js';

type Job = RestoreJobRequested['data'];

/** Disks of one job written concurrently; more would only add seeks. */
const DISKS_AT_ONCE = 2;
/** Progress is recorded after a growth of RECORD_PERCENT percentage points, or after RECORD_MS if it has changed. */
const RECORD_PERCENT = 10;
const RECORD_MS = 5_000;

/** Creates the files of a job in its temporary directory and verifies that they are identical to the restore point. */
@Injectable()
export class MakeDisks {
  constructor(
    private readonly recorder: RestoreRecorder,
    private readonly programs: SupervisedProgram,
    private readonly progress: RestoreProgress,
    private readonly check: SourceCheck,
    private readonly qemuImg: QemuImg,
    private readonly files: RepositoryFiles,
    private readonly workers: StorageWorkers,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {}

  /**
   * Copies and compares the disks while the sources are hashed.
   * @throws DomainError source_damaged, restore_point_unsafe, target_full, target_not_writable, copy_failed, restored_content_differs, storage_silent,
   * repository_unavailable
   */
  async make(state: KnownRestoreJob, signal: AbortSignal): Promise<void> {
    const { repository_path, target_path } = state.job;
    await this.workers
      .whileTheyAnswer([repository_path, target_path], (given) => this.makeAll(state, given), signal)
      .catch((error: unknown) => rethrowSilence(error, repository_path));
  }

  private async makeAll(state: KnownRestoreJob, signal: AbortSignal): Promise<void> {
    const { job } = state;
    for (const source of sourcesOf(job)) await this.refuseMissing(job, source);
    // The hashes catch anything this check accepts.
    for (const disk of job.disks) await this.files.checkChain(job.repository_path, disk.sources, true);
    await makeWorkingFolder(this.workers.at(job.target_path), workingFolder(job));

    const giveUp = new AbortController();
    const both = AbortSignal.any([signal, giveUp.signal]);
    const verified = state.sources_checked ? Promise.resolve() : this.check.verify(job, this.recorder, (source) => this.damageOf(job, source), both);
    const made = this.inTurn(job.disks, (disk) => this.makeDisk(state, disk, both));
    verified.catch((error: unknown) => giveUp.abort(error));
    made.catch(async (error: unknown) => {
      // A copy may fail because its source is damaged; that must be the reported cause.
      if (error instanceof DomainError && error.code === 'copy_failed') await verified.catch(() => undefined);
      giveUp.abort(error);
    });
    const [ofSources, ofDisks] = await Promise.allSettled([verified, made]);
    if (ofSources.status === 'rejected') throw ofSources.reason;
    if (ofDisks.status === 'rejected') throw ofDisks.reason;
  }

  /** How a file differs whose hash is not the sealed one. */
  private async damageOf(job: Job, source: SourceFile): Promise<DamageFinding['code']> {
    const found = await this.files.look(job.repository_path, source.file);
    return found === null ? 'parent_missing' : found.size_bytes < source.size_bytes ? 'parent_truncated' : 'parent_altered';
  }

  /** If the job allows damage, refuses only missing files. */
  private async refuseMissing(job: Job, source: SourceFile): Promise<void> {
    const found = await this.files.look(job.repository_path, source.file);
    if (found === null) return this.check.mark(job, this.recorder, source, 'parent_missing', 'it is missing', false);
    if (found.size_bytes !== source.size_bytes && job.allow_damaged !== true) {
      const code = found.size_bytes < source.size_bytes ? 'parent_truncated' : 'parent_altered';
      await this.check.mark(job, this.recorder, source, code, `it has ${found.size_bytes} bytes, but ${source.size_bytes} were sealed`);
    }
  }

  private async makeDisk(state: KnownRestoreJob, disk: RestoreDisk, signal: AbortSignal): Promise<void> {
    const { job } = state;
    const { disk_id } = disk;
    const standing = state.disks.get(disk_id) ?? 'pending';
    if (standing === 'compared') return;
    if (standing === 'pending' || standing === 'started') {
      await this.recorder.record(job.job_id, { kind: 'disk_started', disk_id, at: this.clock.iso() });
      await this.copy(job, disk, signal);
      await this.recorder.record(job.job_id, { kind: 'disk_copied', disk_id, at: this.clock.iso() });
    }
    await this.compare(job, disk, signal);
    await this.recorder.record(job.job_id, { kind: 'disk_compared', disk_id, at: this.clock.iso() });
  }

  private async copy(job: Job, disk: RestoreDisk, signal: AbortSignal): Promise<void> {
    const folder = workingFolder(job);
    const tell = this.teller(job.job_id, disk.disk_id);
    this.progress.set(job.job_id, disk.disk_id, 'copying', 0);
    if (job.chain === 'flattened') {
      const argv = convertArgv(this.sourceOf(job, disk), join(folder, outputOf(disk)), job.format);
      await this.programs.run(this.runDirectory(job, disk, 'convert'), argv, { expected: [0], signal, onProgress: tell });
      return;
    }
    for (const [index, source] of disk.sources.entries()) {
      const target = join(folder, disk.outputs[index] ?? basename(source.file));
      await this.programs.run(this.runDirectory(job, disk, `copy-${index}`), copyFileArgv(join(job.repository_path, source.file), target), {
        expected: [0],
        signal,
        onProgress: () => undefined,
      });
      const below = disk.outputs[index - 1];
      if (below !== undefined) await this.qemuImg.renameBacking(target, { file: below, format: 'qcow2' });
      tell(((index + 1) / disk.sources.length) * 100);
    }
  }

  private async compare(job: Job, disk: RestoreDisk, signal: AbortSignal): Promise<void> {
    const folder = workingFolder(job);
    this.progress.set(job.job_id, disk.disk_id, 'comparing', 0);
    const argv = compareArgv(this.sourceOf(job, disk), join(folder, outputOf(disk)), job.format);
    const [exitCode] = await Promise.all([
      this.programs.run(this.runDirectory(job, disk, 'compare'), argv, {
        expected: [0, 1],
        signal,
        onProgress: (percent) => this.progress.set(job.job_id, disk.disk_id, 'comparing', percent),
      }),
      ...disk.outputs.map((output) => this.workers.at(job.target_path).syncToDisk(join(folder, output))),
    ]);
    if (exitCode !== 0) {
      throw new DomainError('conflict', 'restored_content_differs', `The restored disk ${disk.disk_id} differs from the restore point.`, {
        disk_id: disk.disk_id,
      });
    }
  }

  private teller(jobId: string, diskId: number): (percent: number) => void {
    let recordedPercent = 0;
    let recordedAt = performance.now();
    return (percent) => {
      this.progress.set(jobId, diskId, 'copying', percent);
      const now = performance.now();
      if (percent < recordedPercent + RECORD_PERCENT && (percent === recordedPercent || now - recordedAt < RECORD_MS)) return;
      recordedPercent = percent;
      recordedAt = now;
      // A failed record does not matter: the next progress follows soon.
      this.recorder.record(jobId, { kind: 'disk_progressed', disk_id: diskId, percent: Math.floor(percent) }).catch(() => undefined);
    };
  }

  private async inTurn(disks: readonly RestoreDisk[], work: (disk: RestoreDisk) => Promise<void>): Promise<void> {
    const waiting = [...disks];
    const lane = async (): Promise<void> => {
      for (let disk = waiting.shift(); disk !== undefined; disk = waiting.shift()) await work(disk);
    };
    await Promise.all(Array.from({ length: DISKS_AT_ONCE }, lane));
  }

  private sourceOf(job: Job, disk: RestoreDisk): ImageChain {
    const [oldest, ...others] = disk.sources.map(({ file }) => join(job.repository_path, file));
    if (oldest === undefined) throw new Error(`disk ${disk.disk_id} has no files`);
    return [oldest, ...others];
  }

  private runDirectory(job: Job, disk: RestoreDisk, what: string): string {
    return join(restoreJobDirectory(this.config.runDirectory, job.job_id), `disk-${disk.disk_id}-${what}`);
  }
}

function outputOf(disk: RestoreDisk): string {
  const output = disk.outputs.at(-1);
  if (output === undefined) throw new Error(`disk ${disk.disk_id} has no output`);
  return output;
}

async function makeWorkingFolder(calls: FileCalls, path: string): Promise<void> {
  try {
    await calls.makeFolder(path, 0o700);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EEXIST') return;
    if (isOutOfSpace(error)) throw new DomainError('storage_full', 'target_full', `There is no space left to create "${path}" (${errno}).`);
    if (errno !== null) throw new DomainError('conflict', 'target_not_writable', `The directory "${path}" could not be created (${errno}).`);
    throw error;
  }
}
