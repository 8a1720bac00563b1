import { describe, expect, it } from '@jest/globals';
import type { RunningOccurrence, RunVm } from '../model/occurrence.state.js';
import { planOccurrence } from './run-occurrence.plan.js';

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
    expect(planOccurrence(of(due, planned, asked, ended), now)).toEqual({ request: [due], awaited: [asked], next_at: later, is_over: false });
  });

  it('is nothing more when all have ended', () => {
    const ended = vm('ended', { stage: 'ended', outcome: 'failed' });
    expect(planOccurrence(of(ended, ended), now)).toEqual({ request: [], awaited: [], next_at: null, is_over: true });
  });
});
