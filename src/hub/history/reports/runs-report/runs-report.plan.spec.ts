import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { type FailedBackup, type RunFacts, RUNS_REPORT, type RunsFacts, runsReport, type TroubledVm } from './runs-report.plan.js';

const PERIOD = { from: '2027-01-01T00:00:00.000Z', until: '2027-02-01T00:00:00.000Z' };
const RUN: RunFacts = {
  occurrence_id: 'o1',
  policy_id: 'p1',
  policy_name: 'nightly',
  policy_version: 2,
  trigger: 'schedule',
  due_at: '2027-01-05T22:00:00.000Z',
  wall_time: '2027-01-05T22:00',
  time_zone: 'UTC',
  outcome: 'started',
  reason: null,
  detail: null,
  finished_at: '2027-01-05T23:00:00.000Z',
  vms: 3,
  completed: 2,
  not_completed: 1,
  retried: 1,
};
const TROUBLED: TroubledVm = {
  occurrence_id: 'o1',
  policy_id: 'p1',
  policy_name: 'nightly',
  due_at: RUN.due_at,
  begun_at: '2027-01-05T22:00:00.010Z',
  finished_at: RUN.finished_at,
  vm_id: 'v1',
  vm_name: 'web-1',
  attempt: 3,
  status: 'completed',
  start_at: '2027-01-05T22:20:00.000Z',
  code: null,
  detail: null,
};

function failure(backup_id: string, created_at: string, change: Partial<FailedBackup> = {}): FailedBackup {
  const cause = { code: 'node_silent', stage: 'transfer', detail: 'No report arrived for 300 s.' };
  return {
    backup_id,
    vm_id: 'v1',
    vm_name: 'web-1',
    policy_id: 'p1',
    policy_name: 'nightly',
    created_at,
    failed_at: created_at.replace(':00.000Z', ':30.000Z'),
    ...cause,
    ...change,
  };
}

function reportOf(facts: Partial<RunsFacts>) {
  const { totals, tables } = reportBody(RUNS_REPORT, {}, runsReport({ runs: [], troubled: [], failed: [], ...facts }, PERIOD));
  return { totals, runs: tables['runs'] ?? [], failures: tables['failures'] ?? [] };
}

describe('the report of runs', () => {
  it('has every run with its outcome, oldest first, and the totals', () => {
    const none = { vms: 0, completed: 0, not_completed: 0, retried: 0, finished_at: null };
    const skipped = {
      ...RUN,
      ...none,
      occurrence_id: 'o2',
      due_at: '2027-01-04T22:00:00.000Z',
      outcome: 'skipped',
      reason: 'blackout',
      detail: 'Why.',
    } as const;
    const missed = { ...RUN, ...none, occurrence_id: 'o3', due_at: '2027-01-03T22:00:00.000Z', outcome: 'missed', reason: 'hub_down' } as const;
    const running = { ...RUN, occurrence_id: 'o4', due_at: '2027-01-06T22:00:00.000Z', outcome: 'caught_up', vms: 5, finished_at: null } as const;
    const { totals, runs } = reportOf({ runs: [running, RUN, skipped, missed] });
    expect(runs.map((run) => [run['occurrence_id'], run['outcome'], run['reason'], run['unfinished']])).toEqual([
      ['o3', 'missed', 'hub_down', 0],
      ['o2', 'skipped', 'blackout', 0],
      ['o1', 'started', null, 0],
      ['o4', 'caught_up', null, 2],
    ]);
    expect(runs[2]).toMatchObject({ policy: 'nightly', policy_version: 2 });
    expect(totals).toEqual({
      runs: 4,
      started: 1,
      caught_up: 1,
      skipped: 1,
      missed: 1,
      vms: 8,
      completed: 4,
      not_completed: 2,
      unfinished: 2,
      retried: 2,
      failures: 0,
    });
  });

  it('has each failed attempt with its cause, and how the VM ended in the run', () => {
    const failed = [failure('b2', '2027-01-05T22:10:00.000Z', { code: 'node_offline' }), failure('b1', '2027-01-05T22:01:00.000Z')];
    const { failures, totals } = reportOf({ troubled: [TROUBLED], failed });
    expect(failures).toMatchObject([
      {
        backup_id: 'b1',
        vm: 'web-1',
        policy: 'nightly',
        due_at: RUN.due_at,
        attempts: 3,
        outcome: 'completed',
        code: 'node_silent',
        stage: 'transfer',
      },
      { backup_id: 'b2', attempts: 3, code: 'node_offline' },
    ]);
    expect(totals).toMatchObject({ failures: 2 });
  });

  it('has failed backups outside runs: of no policy, of another policy or VM, or of another time', () => {
    const failed = [
      failure('b1', '2027-01-05T22:01:00.000Z', { policy_id: null, policy_name: null }),
      failure('b2', '2027-01-05T22:02:00.000Z', { policy_id: 'p2', policy_name: null }),
      failure('b3', '2027-01-05T22:03:00.000Z', { vm_id: 'v2' }),
      failure('b4', '2027-01-05T23:04:00.000Z'),
    ];
    const { failures } = reportOf({ troubled: [TROUBLED], failed });
    expect(failures.map((row) => [row['backup_id'], row['policy'], row['attempts'], row['occurrence_id']])).toEqual([
      ['b1', null, null, null],
      ['b2', 'p2', null, null],
      ['b3', 'nightly', null, null],
      ['b4', 'nightly', null, null],
    ]);
  });

  it('has requests that were refused in the period, which made no backup', () => {
    const refused = { ...TROUBLED, attempt: 1, status: 'refused', code: 'vm_not_found', detail: 'There is no VM.' };
    const before = { ...refused, start_at: '2026-12-31T23:59:59.999Z' };
    expect(reportOf({ troubled: [refused, before] }).failures).toMatchObject([
      { failed_at: refused.start_at, backup_id: null, stage: null, code: 'vm_not_found', attempts: 1, outcome: 'refused' },
    ]);
  });

  it('is the same in whatever order the database gives its rows', () => {
    const refused = { ...TROUBLED, attempt: 1, status: 'refused', code: 'vm_not_found', detail: 'There is no VM.' };
    const troubled = [refused, { ...refused, occurrence_id: 'o2' }, { ...refused, vm_id: 'v2' }];
    expect(reportOf({ troubled: troubled.toReversed() })).toEqual(reportOf({ troubled }));
  });
});
