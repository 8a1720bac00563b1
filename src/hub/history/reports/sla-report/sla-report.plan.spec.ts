import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { SLA_REPORT, slaReport, type VmServiceLevel } from './sla-report.plan.js';

const DAY = 86_400;

function level(vm_name: string, change: Partial<VmServiceLevel> = {}): VmServiceLevel {
  const runs = { expected: 10, made: 6, late: 1, failed: 1, skipped: 1, missed: 1, unfinished: 1 };
  const promise = { policies: 'nightly (version 1)', rpo_seconds: DAY, promised_seconds: 10 * DAY, broken_seconds: 0, breaches: 0, worst_gap_seconds: DAY };
  return { vm_id: `v-${vm_name}`, vm_name, ...promise, ...runs, ...change };
}

function reportOf(levels: readonly VmServiceLevel[]) {
  const { totals, tables } = reportBody(SLA_REPORT, {}, slaReport(levels));
  return { totals, rows: tables['vms'] ?? [] };
}

describe('the report of service levels', () => {
  it('lists the VM with the least time within its RPO first, and VMs without an RPO last', () => {
    const none = { promised_seconds: 0, rpo_seconds: null, policies: null, worst_gap_seconds: 90 * DAY };
    const { rows, totals } = reportOf([
      level('b-all'),
      level('none', none),
      level('half', { broken_seconds: 5 * DAY, breaches: 2 }),
      level('a-all'),
      level('little', { broken_seconds: 9.5 * DAY, breaches: 1 }),
    ]);
    expect(rows.map((row) => [row['vm'], row['within_percent']])).toEqual([
      ['little', 5],
      ['half', 50],
      ['a-all', 100],
      ['b-all', 100],
      ['none', null],
    ]);
    expect(totals).toMatchObject({ vms: 5, promised: 4, with_breaches: 2, worst_gap_seconds: DAY, within_percent: 63.75, expected: 50, late: 5, missed: 5 });
  });

  it('says 100 % only if nothing is missing', () => {
    expect(reportOf([level('a', { broken_seconds: 1, breaches: 1 })]).rows).toMatchObject([{ within_percent: 99.99 }]);
  });

  it('has no share without a promise', () => {
    expect(reportOf([]).totals).toMatchObject({ vms: 0, within_percent: null, worst_gap_seconds: null });
  });
});
