import { describe, expect, it } from '@jest/globals';
import type { RunningOccurrence, RunVm } from '../model/occurrence.state.js';
import { type AwaitedVm, planCancellations, planOccurrence } from './run-occurrence.plan.js';

const now = '2027-01-05T22:00:00.000Z';
const later = '2027-01-05T22:10:00.000Z';
const vm = (vm_id: string, more: Partial<RunVm>): RunVm => ({
  vm_id,
  vm_name: vm_id,
  because: 'name *',
  start_at: now,
  attempt: 1,
  stage: 'planned',
  backup_id: null,
  outcome: null,
  requested_at: null,
  cancel: null,
  ...more,
});
const of = (...vms: readonly RunVm[]): RunningOccurrence => ({
  status: 'running',
  run: {
    occurrence_id: 'o1',
    policy_id: 'p1',
    policy_name: 'nightly',
    policy_version: 1,
    trigger: 'schedule',
    due_at: now,
    wall_time: '2027-01-05T22:00',
    time_zone: 'UTC',
    repository_id: 'r1',
    backup_type: 'auto',
    vms: [],
    left_out: [],
    started_at: now,
  },
  vms,
});

describe('what is to be done for a run', () => {
  it('is to request the backups whose time has come, and to await those requested', () => {
    const [due, planned, asked, ended] = [
      vm('due', {}),
      vm('planned', { start_at: later }),
      vm('asked', { stage: 'requested', backup_id: 'b1' }),
      vm('ended', { stage: 'ended', backup_id: 'b2', outcome: 'completed' }),
    ];
    expect(planOccurrence(of(due, planned, asked, ended), now, null)).toEqual({ request: [due], drop: [], awaited: [asked], next_at: later, is_over: false });
  });

  it('is to drop backups whose time has come while none may run', () => {
    const [due, planned] = [vm('due', {}), vm('planned', { start_at: later })];
    expect(planOccurrence(of(due, planned), now, 'blackout')).toMatchObject({ request: [], drop: [due], next_at: later, is_over: false });
  });

  it('is nothing more when all have ended', () => {
    const ended = vm('ended', { stage: 'ended', outcome: 'failed' });
    expect(planOccurrence(of(ended, ended), now, null)).toEqual({ request: [], drop: [], awaited: [], next_at: null, is_over: true });
  });
});

describe('the unfinished backups of a run', () => {
  const asked = (vm_id: string, more: Partial<RunVm> = {}): AwaitedVm => ({
    ...vm(vm_id, { stage: 'requested', requested_at: now, ...more }),
    backup_id: `b-${vm_id}`,
  });
  const queued = new Set(['b-waits', 'b-new']);
  const rules = { closed: null, timeout_seconds: 600, now: later };

  it('are cancelled when they have waited in the queue for too long, but not once they run', () => {
    const young = asked('new', { requested_at: '2027-01-05T22:00:00.001Z' });
    expect(planCancellations([asked('waits'), asked('runs'), young], queued, rules)).toEqual({
      cancel: [{ ...asked('waits'), reason: 'concurrency_timeout' }],
      next_at: '2027-01-05T22:10:00.001Z',
    });
    expect(planCancellations([asked('waits')], queued, { ...rules, timeout_seconds: null })).toEqual({ cancel: [], next_at: null });
  });

  it('are cancelled when backups may not run any more', () => {
    const { cancel } = planCancellations([asked('runs'), asked('waits')], queued, { ...rules, closed: 'window_closed', timeout_seconds: null });
    expect(cancel.map(({ vm_id, reason }) => [vm_id, reason])).toEqual([
      ['runs', 'window_closed'],
      ['waits', 'window_closed'],
    ]);
  });

  it('are cancelled again for the recorded reason, as a hub may have been killed in between', () => {
    expect(planCancellations([asked('runs', { cancel: 'blackout' })], new Set(), rules).cancel).toMatchObject([{ reason: 'blackout' }]);
  });
});
