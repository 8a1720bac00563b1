import type { CopyEvent, CopyPlanned, CopyRequested, CopyVerified } from '../../src/hub/repositories/copies/model/copy.events.js';

export const copyRequest: CopyRequested['data'] = {
  copy_id: 'c1',
  backup_id: 'b1',
  vm_id: 'vm',
  vm_name: 'pgtest1',
  chain_id: 'chain',
  source_repository_id: 'r1',
  source_repository_path: '/srv/backups',
  repository_id: 'r2',
  repository_path: '/srv/copies',
  policy_id: null,
  bandwidth_limit_bps: null,
  requested_at: '2026-11-21T10:00:00.000Z',
};
export const copyPlan: CopyPlanned['data'] = {
  form: 'identical',
  folder: 'pgtest1-00000000/20261121T101500Z-full-00000001',
  parent_backup_id: null,
  source_manifest_sha256: 'aa',
  total_bytes: 10,
  planned_at: 'now',
};
export const copyProof: CopyVerified['data'] = { manifest_sha256: 'aa', disks: [], written_bytes: 10, kept_bytes: 0, verified_at: 'now' };

const requested: CopyEvent = { type: 'CopyRequested', data: copyRequest };
const planned: CopyEvent = { type: 'CopyPlanned', data: copyPlan };
const verified: CopyEvent = { type: 'CopyVerified', data: copyProof };
const failed: CopyEvent = { type: 'CopyFailed', data: { code: 'source_altered', detail: 'altered', failed_at: 'now' } };
const completed: CopyEvent = { type: 'CopyCompleted', data: { completed_at: 'now' } };

/** Histories of a copy up to the state of their name. */
export const copyHistories = {
  requested: [requested],
  planned: [requested, planned],
  interrupted: [
    requested,
    planned,
    { type: 'CopyInterrupted', data: { code: 'repository_unavailable', detail: 'gone', interrupted_at: 'now' } } satisfies CopyEvent,
  ],
  verified: [requested, planned, verified],
  completed: [requested, planned, verified, completed],
  failed: [requested, planned, failed],
  cancelled: [requested, planned, { type: 'CopyCancelled', data: { cancelled_at: 'now' } } satisfies CopyEvent],
  deleted: [requested, planned, verified, completed, { type: 'CopyDeleted', data: { deleted_at: 'now' } } satisfies CopyEvent],
} as const;
