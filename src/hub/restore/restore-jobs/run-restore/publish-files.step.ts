import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ifThere, namesIn } from '../../../../lib/files/if-there.js';
import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import type { FileCalls } from '../../../../storage/storage-worker/file-calls.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { errnoOf } from '../../../../lib/process/system-error.js';
import type { RestoreJobRequested } from '../model/restore-job.events.js';
import type { KnownRestoreJob } from '../model/restore-job.state.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { restoreJobDirectory, workingFolder } from '../model/run-directories.plan.js';
import { RestoreRecorder } from './record-restore.recorder.js';
import { SupervisedProgram } from './supervised-program.runner.js';

type Job = RestoreJobRequested['data'];

/** Errors of link(2) on file systems without hard links. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EACCES']);

/** Mode of restored files. Other readers must be granted access explicitly. */
const PRIVATE = 0o600;

/** Gives verified files their final names, and cleans up after a job. */
@Injectable()
export class PublishFiles {
  constructor(
    private readonly recorder: RestoreRecorder,
    private readonly programs: SupervisedProgram,
    private readonly progress: RestoreProgress,
    private readonly workers: StorageWorkers,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {}

  /**
   * A hard link never replaces anything, so a file created there in the meantime is safe. After a crash, the link in the temporary directory identifies the
   * job's file.
   */
  async publish({ job }: KnownRestoreJob): Promise<void> {
    const names = job.disks.flatMap(({ outputs }) => outputs);
    for (const name of names) await this.give(job, name);
    await this.workers.at(job.target_path).syncToDisk(job.target_path);
    await this.recorder.record(job.job_id, { kind: 'completed', files: names.map((name) => join(job.target_path, name)), at: this.clock.iso() });
  }

  /** Ends processes first: a running one would create its files again. */
  async cleanUp(state: KnownRestoreJob): Promise<void> {
    const { job } = state;
    const directory = restoreJobDirectory(this.config.runDirectory, job.job_id);
    for (const name of await namesIn(directory)) await this.programs.end(join(directory, name));
    if (state.status !== 'completed') await this.takeBack(job);
    await this.workers.at(job.target_path).removeTree(workingFolder(job));
    await rm(directory, { recursive: true, force: true });
    this.progress.forget(job.job_id);
    await this.recorder.record(job.job_id, { kind: 'cleaned_up', at: this.clock.iso() });
  }

  private async give(job: Job, name: string): Promise<void> {
    const from = join(workingFolder(job), name);
    const to = join(job.target_path, name);
    const calls = this.workers.at(job.target_path);
    const made = await identityOf(calls, from);
    const there = await identityOf(calls, to);
    // Already renamed or linked before a crash.
    if ((made === null && there !== null) || (made !== null && made === there)) return;
    // A disk holds data that its guest protects from others.
    await calls.changeMode(from, PRIVATE);
    if (job.overwrite) return this.replace(calls, from, to);
    try {
      await calls.link(from, to);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EEXIST' || (await identityOf(calls, to)) !== null) {
        throw new DomainError('conflict', 'target_exists', `"${to}" was created by another program while the restore ran. Move it away, or set overwrite.`, {
          file: to,
        });
      }
      if (errno === null || !NO_LINKS.has(errno)) throw error;
      await calls.rename(from, to);
    }
  }

  private async replace(calls: FileCalls, from: string, to: string): Promise<void> {
    try {
      await calls.rename(from, to);
    } catch (error) {
      if (errnoOf(error) !== 'EISDIR') throw error;
      throw new DomainError('conflict', 'target_exists', `"${to}" is a directory, which is never overwritten.`, { file: to });
    }
  }

  /** A job that failed while publishing may have published some of its files. */
  private async takeBack(job: Job): Promise<void> {
    if (job.overwrite) return;
    const calls = this.workers.at(job.target_path);
    for (const name of job.disks.flatMap(({ outputs }) => outputs)) {
      const made = await identityOf(calls, join(workingFolder(job), name));
      const to = join(job.target_path, name);
      if (made !== null && made === (await identityOf(calls, to))) await calls.unlink(to);
    }
  }
}

/** Identifies a file on this machine; null: it does not exist. */
async function identityOf(calls: FileCalls, path: string): Promise<string | null> {
  return (await ifThere(calls.lstat(path)))?.identity ?? null;
}
