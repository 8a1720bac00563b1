import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { RESTORE_EVIDENCE_REPORT, type RestoreEvidenceFacts, restoreEvidenceReport } from './restore-evidence-report.plan.js';

const NOTHING: RestoreEvidenceFacts = {
  vms: [],
  verified: new Map(),
  booted: new Map(),
  restored: new Map(),
  filesDownloaded: new Map(),
  failed: new Map(),
};
const EARLY = '2027-01-01T00:00:00.000Z';
const LATE = '2027-01-02T00:00:00.000Z';

function reportOf(facts: Partial<RestoreEvidenceFacts>) {
  const { totals, tables } = reportBody(RESTORE_EVIDENCE_REPORT, {}, restoreEvidenceReport({ ...NOTHING, ...facts }));
  return { totals, rows: tables['vms'] ?? [] };
}

describe('the report of evidence', () => {
  it('lists the VMs with the least evidence first, and names the best of each', () => {
    const names = ['restored', 'booted', 'files', 'verified', 'never', 'empty'];
    const { rows, totals } = reportOf({
      vms: names.map((name) => ({ vm_id: name, name, restore_points: name === 'empty' ? 0 : 3 })),
      verified: new Map(['verified', 'restored', 'empty'].map((vm) => [vm, { id: `verification of ${vm}`, at: EARLY }])),
      booted: new Map([['booted', { id: 'b1', at: LATE }]]),
      restored: new Map([['restored', { id: 'j1', at: LATE, kind: 'vm' }]]),
      filesDownloaded: new Map([['files', LATE]]),
    });
    expect(rows.map(({ vm, evidence }) => [vm, evidence])).toEqual([
      ['empty', 'no_restore_point'],
      ['never', 'none'],
      ['verified', 'verified'],
      ['files', 'files_restored'],
      ['booted', 'booted'],
      ['restored', 'restored'],
    ]);
    expect(rows.at(-1)).toMatchObject({ restored: LATE, restored_as: 'vm', job_id: 'j1', verified: EARLY, verification_id: 'verification of restored' });
    expect(totals).toEqual({ vms: 6, restored: 1, booted: 1, files_restored: 1, verified: 3, never_restored: 4, without_evidence: 2, last_failed: 0 });
  });

  it('says whether anything has succeeded since the last failure', () => {
    const failed = new Map(['before', 'after'].map((vm) => [vm, { at: vm === 'before' ? EARLY : LATE, what: 'file_altered', detail: 'Why.' }]));
    const { rows, totals } = reportOf({
      vms: ['before', 'after'].map((name) => ({ vm_id: name, name, restore_points: 1 })),
      verified: new Map([
        ['before', { id: 'v1', at: LATE }],
        ['after', { id: 'v2', at: EARLY }],
      ]),
      failed,
    });
    expect(rows.map(({ vm, failure, failure_is_last }) => [vm, failure, failure_is_last])).toEqual([
      ['after', 'file_altered: Why.', 'yes'],
      ['before', 'file_altered: Why.', 'no'],
    ]);
    expect(totals).toMatchObject({ last_failed: 1 });
  });
});
