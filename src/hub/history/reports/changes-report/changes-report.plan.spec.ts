import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { CHANGES_REPORT, type ChangesFacts, changesReport, type Deletion } from './changes-report.plan.js';

const RECORDED = { position: '7', at: '2027-01-05T12:00:00.000Z', by: 'api:alice' };
const EXPIRY = { policy: 'nightly', policy_version: 3, reasons: [{ rule: 'keep_daily', outcome: 'exceeded', period: '2026-11-24' }] };
const BACKUP = { is_restore_point: true, status_detail: null, instant: '2027-01-01T00:00:00.000Z', size_bytes: 4096, expiry: null };

function reportOf(facts: Partial<ChangesFacts>) {
  return reportBody(CHANGES_REPORT, {}, changesReport({ policies: [], deletions: [], protections: [], accesses: [], ...facts }));
}

function deletion(change: Partial<Deletion>): Deletion {
  return { ...RECORDED, type: 'BackupDeleted', id: 'b1', name: 'web', backup: BACKUP, ...change };
}

describe('the report of changes', () => {
  it('has what an edit changed, and what expired under it', () => {
    const change = { ...RECORDED, policy_id: 'p1', expired: 0 };
    const { tables } = reportOf({
      policies: [
        { ...change, type: 'PolicyCreated', version: 1, settings: { name: 'nightly', rpo_seconds: 60 }, before: null },
        {
          ...change,
          type: 'PolicyEdited',
          version: 2,
          settings: { name: 'nightly', rpo_seconds: 90 },
          before: { name: 'nightly', rpo_seconds: 60 },
          expired: 4,
        },
        { ...change, type: 'PolicyDeleted', version: null, settings: null, before: { name: 'nightly' } },
      ],
    });
    expect(tables['policies']).toMatchObject([
      { policy: 'nightly', change: 'created', settings: null, by: 'api:alice' },
      { policy: 'nightly', change: 'edited', version: 2, settings: 'rpo_seconds: 60 -> 90', expired: 4 },
      { policy: 'nightly', change: 'deleted', version: null },
    ]);
  });

  it('says why something was deleted', () => {
    const { tables, totals } = reportOf({
      deletions: [
        deletion({}),
        deletion({ by: 'system:retention', backup: { ...BACKUP, expiry: EXPIRY } }),
        deletion({ backup: { ...BACKUP, expiry: EXPIRY } }),
        deletion({ backup: { ...BACKUP, is_restore_point: false, status_detail: 'node_silent' } }),
        deletion({ type: 'VmRemoved', backup: null }),
        deletion({ type: 'RepositoryDeleted', backup: null }),
      ],
    });
    expect((tables['deletions'] ?? []).map(({ what, reason, size_bytes }) => [what, reason, size_bytes])).toEqual([
      ['restore_point', 'requested', 4096],
      ['restore_point', 'expired, nightly (version 3): keep_daily exceeded', 4096],
      ['restore_point', 'requested', 4096],
      ['failed_backup', 'node_silent', null],
      ['vm', 'requested', null],
      ['repository', 'requested', null],
    ]);
    expect(totals).toMatchObject({ deletions: 6, restore_points_deleted: 3, deleted_by_request: 2 });
  });

  it('counts restores, downloads, and mounts and exports apart', () => {
    const access = { ...RECORDED, id: 'a1', backup_id: 'b1', vm: 'web', instant: null, address: null, target: null, outcome: null, bytes_sent: null };
    const { totals, tables } = reportOf({
      accesses: [
        { ...access, kind: 'restore', operation: 'restore_vm' },
        { ...access, kind: 'download', operation: 'download' },
        { ...access, kind: 'download', operation: 'download_disk' },
        { ...access, kind: 'open', operation: 'mount' },
      ],
      protections: [{ ...RECORDED, type: 'RestorePointHeld', backup_id: 'b1', vm: 'web', instant: null, reason: 'A dispute.' }],
    });
    expect(totals).toMatchObject({ restores: 1, downloads: 2, mounts_and_exports: 1, protections: 1 });
    expect(tables['protections']).toMatchObject([{ change: 'held', reason: 'A dispute.' }]);
  });
});
