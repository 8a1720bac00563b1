import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type FoundPoint, knownLocks, type KnownLocks, lockActions } from './locks.plan.js';

const DAY = 86_400_000;
const NOW = Date.parse('2027-01-05T12:00:00.000Z');
const SETTINGS = { lock_days: 0, longest_lock_days: 3650 };

function point(backup_id: string, parent_backup_id: string | null, days: number | null, changes: Partial<FoundPoint> = {}): FoundPoint {
  return {
    folder: `vm/${backup_id}`,
    hidden: false,
    backup_id,
    parent_backup_id,
    locked_until_ms: days === null ? null : NOW + days * DAY,
    rewriting: false,
    manifest_immutable: false,
    files: [{ name: 'disk-0.qcow2', immutable: false }],
    ...changes,
  };
}
const LOCKED: Partial<FoundPoint> = { manifest_immutable: true, files: [{ name: 'disk-0.qcow2', immutable: true }] };
const daysOf = (locks: KnownLocks, id: string): number | null => {
  const until = locks[id]?.until_ms ?? null;
  return until === null ? null : (until - NOW) / DAY;
};

describe('the locks that the keeper knows', () => {
  it('are those of the manifests, also for what they depend on', () => {
    const locks = knownLocks([point('full', null, 3), point('incr', 'full', 5), point('last', 'incr', 4)], {}, NOW, SETTINGS);
    expect(['full', 'incr', 'last'].map((id) => daysOf(locks, id))).toEqual([5, 5, 4]);
  });

  it('are not shortened by a manifest that was replaced, nor by children that have gone', () => {
    const before = knownLocks([point('full', null, 3), point('incr', 'full', 5)], {}, NOW, SETTINGS);
    const after = knownLocks([point('full', null, null)], before, NOW, SETTINGS);
    expect([daysOf(after, 'full'), daysOf(after, 'incr')]).toEqual([5, 5]);
    expect(Object.keys(knownLocks([], after, NOW + 6 * DAY, SETTINGS))).toEqual([]);
  });

  it('are no longer than the settings allow, from when they are first seen', () => {
    const settings = { lock_days: 0, longest_lock_days: 10 };
    const locks = knownLocks([point('full', null, 100_000)], {}, NOW, settings);
    expect(daysOf(locks, 'full')).toBe(10);
    expect(daysOf(knownLocks([point('full', null, 100_000)], locks, NOW + 9 * DAY, settings), 'full')).toBe(10);
  });

  it('are as long as the settings demand, also without a manifest that demands any', () => {
    const locks = knownLocks([point('full', null, null)], {}, NOW, { ...SETTINGS, lock_days: 7 });
    expect(daysOf(locks, 'full')).toBe(7);
  });

  it('are not touched by partial restore points, unless these were locked before', () => {
    const partial = point('incr', 'full', 9, { hidden: true });
    expect(daysOf(knownLocks([point('full', null, 3), partial], {}, NOW, SETTINGS), 'full')).toBe(3);
    expect(daysOf(knownLocks([point('full', null, 3), { ...partial, ...LOCKED }], {}, NOW, SETTINGS), 'full')).toBe(9);
  });

  it('end even if manifests name each other in a circle', () => {
    const locks = knownLocks([point('a', 'b', 1), point('b', 'a', 2), point('c', 'c', 3)], {}, NOW, SETTINGS);
    expect(['a', 'b', 'c'].map((id) => daysOf(locks, id))).toEqual([2, 2, 3]);
  });

  it('never become shorter, whatever the manifests say later', () => {
    const ids = fc.constantFrom('a', 'b', 'c', 'd');
    const found = fc.array(
      fc.record({ id: ids, parent: fc.option(ids), days: fc.option(fc.integer({ min: -5, max: 4000 })), hidden: fc.boolean(), locked: fc.boolean() }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(fc.array(found, { maxLength: 5 }), (scans) => {
        let locks: KnownLocks = {};
        scans.forEach((scan, day) => {
          const now = NOW + day * DAY;
          const points = scan.map(({ id, parent, days, hidden, locked }) => point(id, parent, days, { hidden, ...(locked ? LOCKED : {}) }));
          const after = knownLocks(points, locks, now, SETTINGS);
          for (const [id, { until_ms }] of Object.entries(locks)) {
            if (until_ms !== null && until_ms > now) expect(after[id]?.until_ms ?? 0).toBeGreaterThanOrEqual(until_ms);
          }
          for (const action of lockActions(points, after, now, true)) {
            const until = action.until_ms;
            if (action.kind === 'unlock') expect(until === null || until <= now).toBe(true);
            else expect(until).toBeGreaterThan(now);
          }
          locks = after;
        });
      }),
    );
  });
});

describe('what the keeper does', () => {
  const actions = (found: FoundPoint, now = NOW, mayUnlock = true) => lockActions([found], knownLocks([found], {}, NOW, SETTINGS), now, mayUnlock);

  it('locks what is not immutable yet', () => {
    const until_ms = NOW + DAY;
    expect(actions(point('a', null, 1))).toEqual([{ kind: 'lock', folder: 'vm/a', manifest: true, files: ['disk-0.qcow2'], until_ms }]);
    expect(actions(point('a', null, 1, { manifest_immutable: true }))).toEqual([
      { kind: 'lock', folder: 'vm/a', manifest: false, files: ['disk-0.qcow2'], until_ms },
    ]);
    expect(actions(point('a', null, 1, LOCKED))).toEqual([]);
  });

  it('unlocks when the lock has ended, and not while the clock is not trusted', () => {
    expect(actions(point('a', null, 1, LOCKED), NOW + DAY - 1)).toEqual([]);
    expect(actions(point('a', null, 1, LOCKED), NOW + DAY, false)).toEqual([]);
    expect(actions(point('a', null, 1, LOCKED), NOW + DAY)).toMatchObject([{ kind: 'unlock', files: ['disk-0.qcow2'] }]);
    // The rest, after it was killed.
    expect(actions(point('a', null, 1, { manifest_immutable: true }), NOW + DAY)).toMatchObject([{ kind: 'unlock', files: [] }]);
    expect(actions(point('a', null, 1, { ...LOCKED, hidden: true }), NOW + DAY)).toMatchObject([{ kind: 'unlock' }]);
  });

  it('leaves alone what somebody else has made immutable, what is partial, and what is being rewritten', () => {
    expect(actions(point('a', null, null, { files: [{ name: 'disk-0.qcow2', immutable: true }] }))).toEqual([]);
    expect(actions(point('a', null, 1, { hidden: true }))).toEqual([]);
    expect(actions(point('a', null, 1, { rewriting: true }))).toEqual([]);
  });
});
