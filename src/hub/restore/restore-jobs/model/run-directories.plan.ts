import type { RestoreJobRequested } from './restore-job.events.js';

/** Where the run directories of all restore jobs are. */
export function restoreJobsDirectory(runDirectory: string): string {
  return `${runDirectory}/restore-jobs`;
}

/** Holds one run directory for each program that a job runs. */
export function restoreJobDirectory(runDirectory: string, jobId: string): string {
  return `${restoreJobsDirectory(runDirectory)}/${jobId}`;
}

/** The folder within the target that a job writes in until all is checked. On the target's file system, so that its files get their names without another copy. */
export function workingFolder(job: Pick<RestoreJobRequested['data'], 'target_path' | 'job_id'>): string {
  return `${job.target_path === '/' ? '' : job.target_path}/.sendense-restore-${job.job_id}`;
}
