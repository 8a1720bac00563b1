import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { RestoreJobEvent, RestoreJobRequested } from '../model/restore-job.events.js';
import { evolveRestoreJob, initialRestoreJobState } from '../model/restore-job.state.js';
import { decideStartRestore, type TargetFacts } from './start-restore.decide.js';

const job: RestoreJobRequested['data'] = {
  job_id: 'j1',
  backup_id: 'b1',
  chain_id: 'c1',
  vm_id: 'v1',
  vm_name: 'pgtest1',
  repository_id: 'r1',
  repository_path: '/srv/backups',
  target_path: '/srv/restore',
  format: 'raw',
  chain: 'flattened',
  overwrite: false,
  disks: [{ disk_id: 0, disk_key: 'disk0', virtual_size_bytes: 1000, sources: [], outputs: ['pgtest1-disk0.raw'] }],
  requested_at: '2026-11-21T11:00:00.000Z',
};
const target: TargetFacts = {
  found: 'folder',
  writable: true,
  inside_repository: null,
  inside_own: null,
  roots: [],
  inside_roots: false,
  taken: [],
  free_bytes: 2000,
  needed_bytes: 1000,
};
const requested: RestoreJobEvent = { type: 'RestoreJobRequested', data: job };
const { given } = specificationOf({ initialState: initialRestoreJobState, evolve: evolveRestoreJob, decide: decideStartRestore });

describe('starting a restore', () => {
  it('is accepted when nothing prevents it', () => given().when({ job, target }).then(requested));
  it('returns the same job for a repeated request', () => given(requested).when({ job, target }).then());
  it('requires an existing directory', () =>
    given()
      .when({ job, target: { ...target, found: 'missing' } })
      .thenRefused('target_missing'));
  it('refuses a file as the target', () =>
    given()
      .when({ job, target: { ...target, found: 'not_a_folder' } })
      .thenRefused('target_not_a_folder'));
  it('requires write access', () =>
    given()
      .when({ job, target: { ...target, writable: false } })
      .thenRefused('target_not_writable'));
  it('never writes to a repository', () =>
    given()
      .when({ job, target: { ...target, inside_repository: '/srv' } })
      .thenRefused('target_in_repository'));
  it("never writes to the hub's own directories", () =>
    given()
      .when({ job, target: { ...target, inside_own: '/var/lib/sendense' } })
      .thenRefused('target_refused'));
  it('writes only to allowed directories, if any are configured', () => {
    given()
      .when({ job, target: { ...target, roots: ['/srv/restore'] } })
      .thenRefused('target_refused');
    given()
      .when({ job, target: { ...target, roots: ['/srv/restore'], inside_roots: true } })
      .then(requested);
  });
  it('replaces nothing', () =>
    given()
      .when({ job, target: { ...target, taken: ['pgtest1-disk0.raw'] } })
      .thenRefused('target_exists'));
  it('replaces files with overwrite', () => {
    const overwriting = { ...job, overwrite: true };
    given()
      .when({ job: overwriting, target: { ...target, taken: ['pgtest1-disk0.raw'] } })
      .then({ type: 'RestoreJobRequested', data: overwriting });
  });
  it('refuses to start without enough space', () =>
    given()
      .when({ job, target: { ...target, free_bytes: 999 } })
      .thenRefused('target_full'));
  it('creates chains of qcow2 files only', () =>
    given()
      .when({ job: { ...job, chain: 'chain' }, target })
      .thenRefused('restore_chain_needs_qcow2'));
});
