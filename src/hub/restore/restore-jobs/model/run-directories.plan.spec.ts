import { describe, expect, it } from '@jest/globals';
import { restoreJobDirectory, restoreJobsDirectory, workingFolder } from './run-directories.plan.js';

describe('the folders of a restore job', () => {
  it('are one of its id for its programs, in the folder of all jobs', () => {
    expect(restoreJobsDirectory('/run/sendense')).toBe('/run/sendense/restore-jobs');
    expect(restoreJobDirectory('/run/sendense', 'j1')).toBe('/run/sendense/restore-jobs/j1');
  });

  it('are a hidden one within its target for what it writes, so on the same file system', () => {
    expect(workingFolder({ target_path: '/srv/restore', job_id: 'j1' })).toBe('/srv/restore/.sendense-restore-j1');
  });

  it('have no empty name in them where the target is the root', () => {
    expect(workingFolder({ target_path: '/', job_id: 'j1' })).toBe('/.sendense-restore-j1');
  });
});
