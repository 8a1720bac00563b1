import { describe, expect, it } from '@jest/globals';
import { POLICY_CREATED, POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import type { PolicySettings } from '../model/policy.events.js';
import { type ActivePolicy, evolvePolicy, initialPolicyState } from '../model/policy.state.js';
import type { Choice } from '../model/selection.plan.js';
import { plannedRuns } from './planned-runs.plan.js';

const VMS: readonly Choice[] = ['v1', 'v2'].map((vm_id) => ({ vm_id, vm_name: vm_id, because: 'name *' }));
const FROM = '2027-01-05T12:00:00.000Z';

function policyOf(change: Partial<PolicySettings>): ActivePolicy {
  const created = { ...POLICY_CREATED, data: { ...POLICY_CREATED.data, settings: { ...POLICY_SETTINGS, ...change } } };
  const state = evolvePolicy(initialPolicyState, created as typeof POLICY_CREATED);
  if (state.status !== 'active') throw new Error('the policy was created');
  return state;
}

/** Each run as its wall time, what becomes of it, and when it starts. */
const runsOf = (change: Partial<PolicySettings>, until: string, from = FROM, vms = VMS): readonly string[] =>
  [...plannedRuns(policyOf(change), from, until, () => ({ vms, left_out: [] }))].map(({ wall_time, outcome, reason, started_at }) =>
    [wall_time, outcome, reason ?? started_at].join(' '),
  );

describe('the runs that lie ahead', () => {
  it('start at their times, up to and including the end', () => {
    expect(runsOf({}, '2027-01-06T22:00:00.000Z')).toEqual([
      '2027-01-05T22:00 on_time 2027-01-05T22:00:00.000Z',
      '2027-01-06T22:00 on_time 2027-01-06T22:00:00.000Z',
    ]);
    expect(runsOf({}, '2027-01-05T21:59:59.999Z')).toEqual([]);
  });

  it('follow the clocks of the time zone', () => {
    const berlin = { time_zone: 'Europe/Berlin', schedule: 'daily at 02:30' };
    expect(runsOf(berlin, '2027-03-29T02:00:00.000Z', '2027-03-27T12:00:00.000Z')).toEqual([
      '2027-03-28T02:30 on_time 2027-03-28T01:00:00.000Z',
      '2027-03-29T02:30 on_time 2027-03-29T00:30:00.000Z',
    ]);
    expect(runsOf(berlin, '2027-11-01T12:00:00.000Z', '2027-10-30T12:00:00.000Z')).toEqual([
      '2027-10-31T02:30 on_time 2027-10-31T00:30:00.000Z',
      '2027-11-01T02:30 on_time 2027-11-01T01:30:00.000Z',
    ]);
  });

  it.each([
    ['defer', '2027-01-06T02:00:00.000Z', '2027-01-05T22:00 moved 2027-01-06T02:00:00.000Z'],
    ['skip', '2027-01-06T02:00:00.000Z', '2027-01-05T22:00 skipped blackout'],
    // The next run is due when the blackout ends.
    ['defer', '2027-01-06T22:00:00.000Z', '2027-01-05T22:00 skipped blackout'],
  ] as const)('in a blackout that is to %s until %s: %s', (effect, until, expected) => {
    const blackouts = [{ from: '2027-01-05T20:00:00.000Z', until, effect }];
    expect(runsOf({ blackouts }, '2027-01-06T22:00:00.000Z')).toEqual([expected, '2027-01-06T22:00 on_time 2027-01-06T22:00:00.000Z']);
  });

  it('are skipped outside the start window, and while the policy is disabled', () => {
    const start_window = { from: '00:00', until: '06:00', days: [] };
    expect(runsOf({ start_window }, '2027-01-06T12:00:00.000Z')).toEqual(['2027-01-05T22:00 skipped window_closed']);
    expect(runsOf({ enabled: false }, '2027-01-06T12:00:00.000Z')).toEqual(['2027-01-05T22:00 skipped paused']);
  });

  it('are skipped without VMs, and while the run before them is still starting backups', () => {
    expect(runsOf({}, '2027-01-06T12:00:00.000Z', FROM, [])).toEqual(['2027-01-05T22:00 skipped no_vm_matched']);
    const slow = runsOf({ schedule: 'every 30m', spread_seconds: 86_400 }, '2027-01-05T14:00:00.000Z');
    expect(slow[0]).toMatch(/ on_time /);
    expect(slow.slice(1).every((run) => run.endsWith('skipped previous_running'))).toBe(true);
  });

  it('count the VMs whose place in the spread is outside the window', () => {
    const start_window = { from: '21:00', until: '22:01', days: [] };
    const [run] = plannedRuns(policyOf({ start_window, spread_seconds: 86_400 }), FROM, '2027-01-06T12:00:00.000Z', () => ({
      vms: Array.from({ length: 50 }, (_, index) => ({ vm_id: `v${index}`, vm_name: 'v', because: 'name *' })),
      left_out: [],
    }));
    expect(run?.outside_window).toBeGreaterThan(0);
    expect((run?.starts.length ?? 0) + (run?.outside_window ?? 0)).toBe(50);
  });
});
