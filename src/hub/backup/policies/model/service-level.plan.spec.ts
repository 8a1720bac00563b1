import { describe, expect, it } from '@jest/globals';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import type { PolicySettings } from './policy.events.js';
import type { CoveringPolicy } from './protection.plan.js';
import { type GoodPoint, NO_RUNS, type PoliciesChange, serviceLevelOf, type UnstartedRun, type VmRecord } from './service-level.plan.js';

const HOUR = 3600;
const DAY = 24 * HOUR;
const PERIOD = { from: '2027-01-10T00:00:00.000Z', until: '2027-01-20T00:00:00.000Z' };
const VM = {
  vm_id: 'v1',
  name: 'web-1',
  node_id: 'n1',
  source: 'image',
  labels: [] as string[],
  registered_at: '2027-01-01T00:00:00.000Z',
  labels_set_at: null,
};

function policy(version: number, change: Partial<PolicySettings> = {}): CoveringPolicy {
  return { policy_id: 'p1', version, edited_at: '2027-01-01T00:00:00.000Z', settings: { ...POLICY_SETTINGS, rpo_seconds: DAY, ...change } };
}

const IN_FORCE: readonly PoliciesChange[] = [{ at: '2027-01-01T00:00:00.000Z', policies: [policy(1)] }];

function level(record: Partial<VmRecord>, policies = IN_FORCE, unstarted: ReadonlyMap<string, readonly UnstartedRun[]> = new Map()) {
  const whole = { changes: [{ at: VM.registered_at, vm: VM }], points: [], breaches: [], started: NO_RUNS };
  return serviceLevelOf({ ...whole, ...record }, policies, unstarted, PERIOD);
}

function point(instant: string, gone_at: string | null = null): GoodPoint {
  return { instant, completed_at: instant.replace(':00.000Z', ':30.000Z'), gone_at };
}

describe('the share of time within the RPO', () => {
  it('is of the time in which there was a promise', () => {
    expect(level({})).toMatchObject({ promised_seconds: 10 * DAY, broken_seconds: 0, breaches: 0, rpo_seconds: DAY, policies: 'nightly (version 1)' });
    expect(level({}, [])).toMatchObject({ promised_seconds: 0, rpo_seconds: null, policies: null });
    expect(level({}, [{ at: '2027-01-15T00:00:00.000Z', policies: [policy(1)] }])).toMatchObject({ promised_seconds: 5 * DAY });
  });

  it('counts only the part of a breach that is in the period and was promised', () => {
    const before = { broken_at: '2027-01-09T00:00:00.000Z', restored_at: '2027-01-10T01:00:00.000Z' };
    const open = { broken_at: '2027-01-19T23:00:00.000Z', restored_at: null };
    const outside = { broken_at: '2027-01-08T00:00:00.000Z', restored_at: '2027-01-09T00:00:00.000Z' };
    expect(level({ breaches: [outside, before, open] })).toMatchObject({ broken_seconds: 2 * HOUR, breaches: 2 });
    const ended = [...IN_FORCE, { at: '2027-01-19T23:30:00.000Z', policies: [] }];
    expect(level({ breaches: [open] }, ended)).toMatchObject({ broken_seconds: HOUR / 2, promised_seconds: 10 * DAY - HOUR / 2 });
  });

  it('is judged by the version in force at each moment', () => {
    const edited = [...IN_FORCE, { at: '2027-01-15T00:00:00.000Z', policies: [policy(2, { rpo_seconds: HOUR })] }];
    expect(level({}, edited)).toMatchObject({ promised_seconds: 10 * DAY, rpo_seconds: HOUR, policies: 'nightly (version 1, 2)' });
    const withdrawn = [...IN_FORCE, { at: '2027-01-15T00:00:00.000Z', policies: [policy(2, { rpo_seconds: null })] }];
    expect(level({}, withdrawn)).toMatchObject({ promised_seconds: 5 * DAY });
  });

  it('follows the labels of the VM, and ends with the VM', () => {
    const labelled = [{ at: '2027-01-01T00:00:00.000Z', policies: [policy(1, { include: [{ by: 'label', value: 'prod' }] })] }];
    const changes = [
      { at: VM.registered_at, vm: VM },
      { at: '2027-01-12T00:00:00.000Z', vm: { ...VM, labels: ['prod'] } },
      { at: '2027-01-13T00:00:00.000Z', vm: null },
    ];
    expect(level({ changes }, labelled)).toMatchObject({ promised_seconds: DAY });
    expect(level({ changes: [{ at: '2027-01-09T00:00:00.000Z', vm: null }] })).toBeNull();
    expect(level({ changes: [{ at: '2027-01-21T00:00:00.000Z', vm: VM }] })).toBeNull();
  });

  it('does not include an opt-out, which may end', () => {
    const opt_outs = [{ vm_id: 'v1', reason: 'r', until: '2027-01-14T00:00:00.000Z' }];
    expect(level({}, [{ at: '2027-01-01T00:00:00.000Z', policies: [policy(1, { opt_outs })] }])).toMatchObject({ promised_seconds: 6 * DAY });
  });
});

describe('the worst gap', () => {
  const oldest = point('2027-01-09T12:00:00.000Z');

  it('is the greatest age that the newest restore point reached', () => {
    const points = [oldest, point('2027-01-11T12:00:00.000Z'), point('2027-01-19T00:00:00.000Z')];
    expect(level({ points })).toMatchObject({ worst_gap_seconds: 7.5 * DAY + 30 });
    expect(level({ points: [oldest, point('2027-01-10T12:00:00.000Z')] })).toMatchObject({ worst_gap_seconds: 9.5 * DAY });
    expect(level({ points: [oldest] })).toMatchObject({ worst_gap_seconds: 10.5 * DAY });
  });

  it('counts from the registration if there is no restore point', () => {
    expect(level({})).toMatchObject({ worst_gap_seconds: 19 * DAY });
    expect(level({ points: [point('2027-01-21T00:00:00.000Z')] })).toMatchObject({ worst_gap_seconds: 19 * DAY });
  });

  it('goes back to the one before if the newest was damaged, but not if an old one was deleted', () => {
    const next = point('2027-01-14T12:00:00.000Z');
    const damaged = { ...point('2027-01-12T12:00:00.000Z'), gone_at: '2027-01-13T00:00:00.000Z' };
    expect(level({ points: [oldest, damaged, next] })).toMatchObject({ worst_gap_seconds: 5.5 * DAY });
    const half = [point('2027-01-12T12:00:00.000Z'), next, point('2027-01-17T12:00:00.000Z')];
    expect(level({ points: [{ ...oldest, gone_at: '2027-01-13T00:00:00.000Z' }, ...half] })).toMatchObject({ worst_gap_seconds: 3 * DAY + 30 });
  });

  it('is not shortened by an older restore point that is completed later', () => {
    const imported = { instant: '2027-01-01T00:00:00.000Z', completed_at: '2027-01-15T00:00:00.000Z', gone_at: null };
    expect(level({ points: [oldest, imported] })).toMatchObject({ worst_gap_seconds: 10.5 * DAY });
  });
});

describe('the runs of a VM', () => {
  const started = { made: 5, late: 1, failed: 2, unfinished: 1 };
  const at = '2027-01-12T22:00:00.000Z';

  it('are expected whether they started or not, by the policies that covered the VM at their time', () => {
    const run = (outcome: UnstartedRun['outcome']): UnstartedRun => ({ due_at: at, outcome });
    const unstarted = new Map([
      ['p1', [run('skipped'), run('missed'), run('missed')]],
      ['p2', [run('missed')]],
    ]);
    expect(level({ started }, IN_FORCE, unstarted)).toMatchObject({ expected: 11, ...started, skipped: 1, missed: 2 });
    const later = [{ at: '2027-01-13T00:00:00.000Z', policies: [policy(1)] }];
    expect(level({ started }, later, unstarted)).toMatchObject({ expected: 8, skipped: 0, missed: 0 });
  });
});
