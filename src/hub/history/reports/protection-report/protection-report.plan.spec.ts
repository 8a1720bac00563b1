import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { PROTECTION_REPORT, type ProtectionFacts, protectionReport, type VmProtection } from './protection-report.plan.js';

const nightly = { policy_id: 'p1', settings: { name: 'nightly', enabled: true } };
const paused = { policy_id: 'p2', settings: { name: 'paused', enabled: false } };

function vm(name: string, change: Partial<VmProtection> = {}): VmProtection {
  const newest = { backup_id: `b-${name}`, instant: '2027-01-05T11:00:00.000Z' };
  const promise = { policy_id: 'p1', policy_version: 3, rpo_seconds: 7200 };
  return { vm: { vm_id: `v-${name}`, name, newest }, policies: [nightly, paused], promise, status: 'kept', age_seconds: 3600, ...change };
}

function reportOf(protections: readonly VmProtection[], facts: Partial<ProtectionFacts> = {}) {
  const none: ProtectionFacts = { protections, points: new Map(), backedUp: new Set(), verified: new Map(), pointVerified: new Map(), copies: new Map() };
  const { totals, tables } = reportBody(PROTECTION_REPORT, {}, protectionReport({ ...none, ...facts }));
  return { totals, rows: tables['vms'] ?? [] };
}

describe('the report of protection', () => {
  it('has what protects a VM, and how old its last good restore point is', () => {
    const { rows } = reportOf([vm('web')], {
      points: new Map([['v-web', { restore_points: 5, damaged: 1, pinned: 2, held: 1 }]]),
      verified: new Map([['v-web', '2027-01-04T00:00:00.000Z']]),
    });
    expect(rows).toEqual([
      {
        vm: 'web',
        status: 'kept',
        policies: 'nightly, paused (disabled)',
        rpo_policy: 'nightly',
        rpo_policy_version: 3,
        rpo_seconds: 7200,
        age_seconds: 3600,
        last_good: '2027-01-05T11:00:00.000Z',
        verified: null,
        copies: 0,
        vm_verified: '2027-01-04T00:00:00.000Z',
        restore_points: 5,
        damaged: 1,
        pinned: 2,
        held: 1,
        last_good_backup_id: 'b-web',
        vm_id: 'v-web',
      },
    ]);
  });

  it('says when the last good restore point itself was verified', () => {
    const at = '2027-01-05T11:30:00.000Z';
    expect(reportOf([vm('web')], { pointVerified: new Map([['b-web', at]]) }).rows).toMatchObject([{ verified: at, vm_verified: null }]);
  });

  it('says how many copies the last good restore point has elsewhere', () => {
    const { rows, totals } = reportOf([vm('web'), vm('db')], { copies: new Map([['b-web', 2]]) });
    expect(rows.map((row) => [row['vm'], row['copies']])).toEqual([
      ['db', 0],
      ['web', 2],
    ]);
    expect(totals).toMatchObject({ copied: 1 });
  });

  it('lists VMs at risk first: broken, without a policy, without an RPO', () => {
    const nothing = { policies: [], promise: null };
    const { rows, totals } = reportOf([
      vm('b-kept'),
      vm('a-kept'),
      vm('no-rpo', { promise: null, status: 'no_rpo' }),
      vm('bare', { ...nothing, status: 'without_policy' }),
      vm('late', { status: 'broken' }),
    ]);
    expect(rows.map((row) => row['vm'])).toEqual(['late', 'bare', 'no-rpo', 'a-kept', 'b-kept']);
    expect(rows[1]).toMatchObject({ policies: null, rpo_policy: null, rpo_seconds: null });
    expect(totals).toMatchObject({ vms: 5, kept: 2, broken: 1, no_rpo: 1, without_policy: 1 });
  });

  it('tells a VM that was never backed up from one whose restore points are damaged or deleted', () => {
    const without = (name: string): VmProtection => vm(name, { vm: { vm_id: `v-${name}`, name, newest: null }, status: 'broken', age_seconds: null });
    const { totals } = reportOf([without('never'), without('damaged'), without('deleted'), vm('good')], {
      points: new Map([
        ['v-damaged', { restore_points: 1, damaged: 1, pinned: 0, held: 0 }],
        ['v-good', { restore_points: 2, damaged: 0, pinned: 0, held: 0 }],
      ]),
      backedUp: new Set(['v-deleted']),
    });
    expect(totals).toMatchObject({ never_backed_up: 1, without_restore_point: 3, restore_points: 3, damaged: 1 });
  });
});
