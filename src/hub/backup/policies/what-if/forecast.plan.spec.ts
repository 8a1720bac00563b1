import { describe, expect, it } from '@jest/globals';
import { POLICY_CREATED, POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { typeOfNext } from '../../backups/model/backup-facts.reader.js';
import { planOutlined } from '../../chains/model/prunable-chain.reader.js';
import type { PolicySettings } from '../model/policy.events.js';
import { evolvePolicy, initialPolicyState } from '../model/policy.state.js';
import { RetentionCalendar } from '../model/retention.plan.js';
import { Forecast, type ForecastResult, type VmHistory } from './forecast.plan.js';
import { plannedRuns } from './planned-runs.plan.js';

const FROM = '2027-01-05T12:00:00.000Z';
const KEEP_3 = { keep_last: 3, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' as const };
const VM: VmHistory['vm'] = { vm_id: 'v1', name: 'web-1', node_id: 'n1', source: 'image', labels: [], registered_at: FROM, labels_set_at: null };
const FULLS: VmHistory = { vm: VM, sizes: { full_bytes: 1_000, incremental_bytes: null }, points: [], newest: null };

function forecastOf(change: Partial<PolicySettings>, until: string, vms: readonly VmHistory[], free_bytes: number | null = null): ForecastResult {
  const settings = { ...POLICY_SETTINGS, ...change };
  const policy = evolvePolicy(initialPolicyState, { type: 'PolicyCreated', data: { ...POLICY_CREATED.data, settings } } as typeof POLICY_CREATED);
  if (policy.status !== 'active') throw new Error('the policy was created');
  const rules = {
    policy_id: 'p1',
    versions: policy.retentions,
    time_zone: settings.time_zone,
    grace_ms: 86_400_000,
    shares_blocks: false,
    calendar: new RetentionCalendar(),
    judged: () => undefined,
    typeOfNext,
    planPruning: planOutlined,
  };
  const forecast = new Forecast({ policy, from: FROM, until, max_chain_length: 30, free_bytes, rules });
  const choices = vms.map(({ vm: { vm_id, name } }) => ({ vm_id, vm_name: name, because: 'name *' }));
  for (const run of plannedRuns(policy, FROM, until, () => ({ vms: choices, left_out: [] }))) forecast.addRun(run);
  for (const vm of vms) forecast.addVm(vm);
  return forecast.result();
}

describe('a forecast', () => {
  it('counts what is made, expires and is removed, day by day, and what is kept for which rule', () => {
    const { days, greatest, kept_by } = forecastOf({ retention: KEEP_3 }, '2027-01-10T12:00:00.000Z', [FULLS]);
    expect(days).toEqual([
      { day: '2027-01-05', made: 1, expired: 0, removed: 0, points: 1, bytes: 1_000 },
      { day: '2027-01-06', made: 1, expired: 0, removed: 0, points: 2, bytes: 2_000 },
      { day: '2027-01-07', made: 1, expired: 0, removed: 0, points: 3, bytes: 3_000 },
      { day: '2027-01-08', made: 1, expired: 1, removed: 0, points: 4, bytes: 4_000 },
      { day: '2027-01-09', made: 1, expired: 1, removed: 1, points: 4, bytes: 4_000 },
      { day: '2027-01-10', made: 0, expired: 0, removed: 0, points: 4, bytes: 4_000 },
    ]);
    expect(greatest).toEqual({ points: 4, bytes: 4_000 });
    expect(kept_by).toEqual([
      { rule: 'keep_last', points: 3 },
      { rule: 'last_good', points: 1 },
    ]);
  });

  it.each([
    [null, null],
    [4_000, null],
    [3_999, '2027-01-08'],
    [0, '2027-01-05'],
  ])('with %s bytes free says that the repository is full on %s', (free, day) => {
    expect(forecastOf({ retention: KEEP_3 }, '2027-01-10T12:00:00.000Z', [FULLS], free).full_on).toBe(day);
  });

  it('names VMs without history, and counts nothing for them', () => {
    const { vms, days } = forecastOf({}, '2027-01-07T12:00:00.000Z', [{ ...FULLS, sizes: null }]);
    expect(vms).toEqual({ selected: 1, without_history: { count: 1, first: [{ vm_id: 'v1', vm_name: 'web-1' }] }, only_fulls: { count: 0, first: [] } });
    expect(days.every(({ made, bytes }) => made === 0 && bytes === 0)).toBe(true);
  });

  it('of a policy without VMs or of a disabled one has runs that are skipped, and days without restore points', () => {
    const none = forecastOf({}, '2027-01-07T12:00:00.000Z', []);
    expect(none.runs).toMatchObject({ expected: 2, on_time: 0, skipped: 2, by_reason: [{ reason: 'no_vm_matched', runs: 2 }] });
    const disabled = forecastOf({ enabled: false }, '2027-01-07T12:00:00.000Z', [FULLS]);
    expect(disabled.runs).toMatchObject({ skipped: 2, by_reason: [{ reason: 'paused', runs: 2 }] });
    expect(disabled.greatest).toEqual({ points: 0, bytes: 0 });
  });

  it('judges the RPO by the worst gap of each VM: beyond it, at it, and within it', () => {
    const blackouts = [{ from: '2027-01-06T20:00:00.000Z', until: '2027-01-07T08:00:00.000Z', effect: 'defer' as const }];
    const gapsWith = (rpo_seconds: number | null): unknown => forecastOf({ rpo_seconds, blackouts }, '2027-01-07T12:00:00.000Z', [FULLS]).rpo;
    const gap = { vm_id: 'v1', vm_name: 'web-1', worst_gap_seconds: 122_400, gap_from: '2027-01-05T22:00:00.000Z', gap_until: '2027-01-07T08:00:00.000Z' };
    expect(gapsWith(86_400)).toEqual({ rpo_seconds: 86_400, violations: { count: 1, first: [gap] } });
    expect(gapsWith(122_400)).toMatchObject({ violations: { count: 1 } });
    expect(gapsWith(122_401)).toEqual({ rpo_seconds: 122_401, violations: { count: 0, first: [] } });
    expect(gapsWith(null)).toBeNull();
  });
});
