import type { RestoreJobRequested } from './restore-job.events.js';

/** Parent of the run directories of all restore jobs. */
export function restoreJobsDirectory(runDirectory: string): string {
  return `${runDirectory}/restore-jobs`;
}

/** Holds one run directory per program of a job. */
export function restoreJobDirectory(runDirectory: string, jobId: string): string {
  return `${restoreJobsDirectory(runDirectory)}/${jobId}`;
}

/** The job's temporary directory until all checks have passed. On the target's file system, so that files get their names without another copy. */
export function workingFolder(job: Pick<RestoreJobRequested['data'], 'target_path' | 'job_id'>): string {
  return `${job.target_path === '/' ? '' : job.target_path}/.sendense-restore-${job.job_id}`;
}
