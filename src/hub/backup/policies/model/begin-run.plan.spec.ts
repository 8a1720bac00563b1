import { describe, expect, it } from '@jest/globals';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { beginRun, type RunFacts, waitsFor } from './begin-run.plan.js';
import type { RunIdentity, SkipCode } from './occurrence.events.js';

const now = '2027-01-05T22:00:00.000Z';
const run: RunIdentity = {
  occurrence_id: 'o1',
  policy_id: 'p1',
  policy_name: 'nightly',
  policy_version: 1,
  trigger: 'schedule',
  due_at: now,
  wall_time: '2027-01-05T22:00',
  time_zone: 'UTC',
};
const choice = (name: string) => ({ vm_id: name, vm_name: name, because: 'name *' });
const facts: RunFacts = { vms: [choice('v1'), choice('v2')], left_out: [{ ...choice('v3'), because: 'excluded by name v3' }], obstacle: null };

describe('a run whose time has come', () => {
  it('starts with its VMs and their reasons, or is caught up', () => {
    const data = {
      ...run,
      repository_id: 'r1',
      backup_type: 'auto',
      vms: [
        { ...choice('v1'), start_at: now },
        { ...choice('v2'), start_at: now },
      ],
      left_out: facts.left_out,
      started_at: now,
      rules: { run_within: null, concurrency_timeout_seconds: null, verification: null },
    };
    expect(beginRun(run, 'start', POLICY_SETTINGS, facts, now)).toEqual({ type: 'OccurrenceStarted', data });
    expect(beginRun(run, 'catch_up', POLICY_SETTINGS, facts, now)).toEqual({ type: 'OccurrenceCaughtUp', data });
  });

  it('is skipped for an obstacle', () => {
    const obstacle = { reason: 'previous_running', detail: 'd' } as const;
    expect(beginRun(run, 'start', POLICY_SETTINGS, { ...facts, obstacle }, now)).toEqual({
      type: 'OccurrenceSkipped',
      data: { ...run, ...obstacle, recorded_at: now },
    });
  });

  it('waits five minutes for a node or a repository, and for nothing else', () => {
    const waits = (reason: SkipCode, at: string): boolean => waitsFor({ reason, detail: 'd' }, now, at);
    expect(waits('node_offline', now)).toBe(true);
    expect(waits('repository_unavailable', '2027-01-05T22:04:59.999Z')).toBe(true);
    expect(waits('node_offline', '2027-01-05T22:05:00.000Z')).toBe(false);
    expect(waits('previous_running', now)).toBe(false);
    expect(waitsFor(null, now, now)).toBe(false);
  });

  it('gives each VM its place in the spread, and leaves out those whose place is outside the window', () => {
    const spread = { ...POLICY_SETTINGS, spread_seconds: 3600 };
    const vms = Array.from({ length: 50 }, (_, index) => choice(`v${index}`));
    const whole = beginRun(run, 'start', spread, { ...facts, vms }, now);
    const cut = beginRun(run, 'start', { ...spread, start_window: { from: '22:00', until: '22:30', days: [] } }, { ...facts, vms }, now);
    if (whole.type !== 'OccurrenceStarted' || cut.type !== 'OccurrenceStarted') throw new Error('it did not start');
    expect(new Set(whole.data.vms.map(({ start_at }) => start_at)).size).toBeGreaterThan(45);
    expect(cut.data.vms).toEqual(whole.data.vms.filter(({ start_at }) => start_at < '2027-01-05T22:30:00.000Z'));
    expect(cut.data.left_out).toHaveLength(1 + whole.data.vms.length - cut.data.vms.length);
  });

  it('is skipped if no place in the spread is inside the window', () => {
    const closed = { ...POLICY_SETTINGS, start_window: { from: '08:00', until: '09:00', days: [] } };
    expect(beginRun(run, 'start', closed, facts, now)).toMatchObject({ type: 'OccurrenceSkipped', data: { reason: 'window_closed' } });
  });

  it('starts at once when it was asked for, whatever spread and window', () => {
    const closed = { ...POLICY_SETTINGS, spread_seconds: 3600, start_window: { from: '08:00', until: '09:00', days: [] } };
    const ending = beginRun({ ...run, trigger: 'manual' }, 'start', closed, facts, now);
    expect(ending).toMatchObject({ type: 'OccurrenceStarted', data: { vms: [{ start_at: now }, { start_at: now }] } });
  });
});
