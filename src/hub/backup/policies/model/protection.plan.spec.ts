import { describe, expect, it } from '@jest/globals';
import { POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import type { PolicySettings } from './policy.events.js';
import { type CoveringPolicy, nextChange, type ProtectedVm, protectionsOf, type RecordedBreach, rpoStep } from './protection.plan.js';

const NOW = '2027-01-05T12:00:00.000Z';
const HOUR = 3600;
const VM: ProtectedVm = {
  vm_id: 'v1',
  name: 'web-1',
  node_id: 'n1',
  source: 'image',
  labels: [],
  registered_at: '2027-01-01T00:00:00.000Z',
  labels_set_at: null,
  newest: { backup_id: 'b1', instant: '2027-01-05T11:30:00.000Z', completed_at: '2027-01-05T11:40:00.000Z' },
};

function policy(policy_id: string, change: Partial<PolicySettings> = {}): CoveringPolicy {
  return {
    policy_id,
    version: 1,
    edited_at: '2027-01-02T00:00:00.000Z',
    settings: { ...POLICY_SETTINGS, repository_id: policy_id, rpo_seconds: HOUR, ...change },
  };
}

function protection(vm: ProtectedVm, policies: readonly CoveringPolicy[], now = NOW) {
  const [found] = protectionsOf([vm], policies, now);
  if (found === undefined) throw new Error('there is one for each VM');
  return found;
}

/** What is recorded at an instant, with the newest restore point of an instant (null: none). */
function stepAt(now: string, instant: string | null, breach: RecordedBreach | null, policies = [policy('p1')], vm = VM) {
  const newest = instant === null ? null : { backup_id: `of ${instant}`, instant, completed_at: instant };
  return rpoStep(protection({ ...vm, newest }, policies, now), breach, now);
}

describe('the protection of a VM', () => {
  it('has the shortest RPO of the policies that select the VM, also of disabled ones', () => {
    const policies = [
      policy('p1', { rpo_seconds: 7200 }),
      policy('p2', { enabled: false }),
      policy('p3', { rpo_seconds: 60, include: [{ by: 'name', value: 'db-*' }] }),
    ];
    expect(protection(VM, policies)).toMatchObject({ promise: { policy_id: 'p2', rpo_seconds: HOUR }, status: 'kept', due_at: '2027-01-05T12:30:00.000Z' });
    expect(protection(VM, policies).policies.map(({ policy_id }) => policy_id)).toEqual(['p1', 'p2']);
  });

  it('does not count a policy whose VM another one backs up into the same repository', () => {
    const policies = [policy('p1', { rpo_seconds: 7200 }), policy('p2', { repository_id: 'p1' })];
    expect(protection(VM, policies)).toMatchObject({ promise: { policy_id: 'p1' } });
  });

  it('has no RPO without a policy, or if no policy has one', () => {
    expect(protection(VM, [])).toMatchObject({ status: 'without_policy', promise: null });
    expect(protection(VM, [policy('p1', { rpo_seconds: null })])).toMatchObject({ status: 'no_rpo', promise: null });
    const { rpo_seconds: _none, ...early } = POLICY_SETTINGS;
    expect(protection(VM, [{ ...policy('p1'), settings: early }])).toMatchObject({ status: 'no_rpo' });
  });

  it('is broken as soon as the newest restore point has the age of the RPO, or without one', () => {
    expect(protection(VM, [policy('p1')], '2027-01-05T12:29:59.999Z').status).toBe('kept');
    expect(protection(VM, [policy('p1')], '2027-01-05T12:30:00.000Z').status).toBe('broken');
    expect(protection({ ...VM, newest: null }, [policy('p1')])).toMatchObject({ status: 'broken', due_at: null, age_seconds: null });
  });

  it('has no age below zero', () => {
    expect(protection(VM, [], '2027-01-05T11:00:00.000Z').age_seconds).toBe(0);
    expect(protection(VM, []).age_seconds).toBe(1800);
  });

  it('may change when the first restore point becomes too old, and when an opt-out ends', () => {
    const until = '2027-01-05T12:10:00.000Z';
    const optedOut = [
      policy('p1', {
        opt_outs: [
          { vm_id: 'v2', reason: 'r', until },
          { vm_id: 'v3', reason: 'r', until: '2027-01-05T12:00:00.000Z' },
        ],
      }),
    ];
    expect(nextChange(protectionsOf([VM], optedOut, NOW), optedOut, NOW)).toBe(until);
    expect(nextChange(protectionsOf([VM], [policy('p1')], NOW), [policy('p1')], NOW)).toBe('2027-01-05T12:30:00.000Z');
    expect(nextChange(protectionsOf([{ ...VM, newest: null }], [policy('p1')], NOW), [policy('p1')], NOW)).toBeNull();
  });
});

describe('a breach', () => {
  const breach: RecordedBreach = { vm_id: 'v1', backup_id: 'of 2027-01-05T10:30:00.000Z', broken_at: '2027-01-05T11:30:00.000Z' };

  it('is recorded with its true beginning, however late', () => {
    expect(stepAt('2027-01-09T00:00:00.000Z', '2027-01-05T10:30:00.000Z', null)).toMatchObject({
      kind: 'break',
      breach: { policy_id: 'p1', policy_version: 1, rpo_seconds: HOUR, broken_at: '2027-01-05T11:30:00.000Z', recorded_at: '2027-01-09T00:00:00.000Z' },
    });
    expect(stepAt(NOW, '2027-01-05T11:30:00.000Z', null)).toBeNull();
  });

  it.each([
    ['the VM was registered', { registered_at: '2027-01-03T00:00:00.000Z' }, {}, '2027-01-03T00:00:00.000Z'],
    ['the version of the policy came into force', {}, {}, '2027-01-02T00:00:00.000Z'],
    ['the VM got the labels', { labels_set_at: '2027-01-04T00:00:00.000Z' }, {}, '2027-01-04T00:00:00.000Z'],
    ['its opt-out ended', {}, { opt_outs: [{ vm_id: 'v1', reason: 'r', until: '2027-01-05T00:00:00.000Z' }] }, '2027-01-05T00:00:00.000Z'],
  ])('begins with the promise if there is no restore point: when %s', (_, vm, settings, broken_at) => {
    expect(stepAt(NOW, null, null, [policy('p1', settings)], { ...VM, ...vm })).toMatchObject({ kind: 'break', breach: { backup_id: null, broken_at } });
    // One from before the promise was too old before.
    expect(stepAt(NOW, '2026-12-01T00:00:00.000Z', null, [policy('p1', settings)], { ...VM, ...vm })).toMatchObject({ breach: { broken_at } });
  });

  it('ends with a newer restore point, when that was completed', () => {
    expect(stepAt(NOW, '2027-01-05T11:45:00.000Z', breach)).toMatchObject({
      kind: 'restore',
      end: { reason: 'restore_point', backup_id: 'of 2027-01-05T11:45:00.000Z', restored_at: '2027-01-05T11:45:00.000Z', recorded_at: NOW },
    });
    expect(stepAt(NOW, '2027-01-05T10:45:00.000Z', breach)).toBeNull();
  });

  it('ends when a longer RPO allows the age', () => {
    expect(stepAt(NOW, '2027-01-05T10:30:00.000Z', breach, [policy('p1', { rpo_seconds: 2 * HOUR })])).toMatchObject({
      end: { reason: 'rpo_changed', restored_at: NOW },
    });
  });

  it('ends when nothing is promised any more', () => {
    expect(stepAt(NOW, '2027-01-05T10:30:00.000Z', breach, [])).toMatchObject({ end: { reason: 'not_promised', restored_at: NOW } });
  });

  it('does not end because the clock is set back, and does not begin twice', () => {
    expect(stepAt('2027-01-05T11:00:00.000Z', '2027-01-05T10:30:00.000Z', breach)).toBeNull();
    expect(stepAt(NOW, '2027-01-05T10:30:00.000Z', breach)).toBeNull();
  });
});
