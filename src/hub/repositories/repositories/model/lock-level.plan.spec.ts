import { describe, expect, it } from '@jest/globals';
import { type KnownLock, lockLevel, locksToRead } from './lock-level.plan.js';

const NOW = new Date('2027-01-05T12:00:00.000Z');
const later = new Date(NOW.getTime() + 1);
const HOUR = 3_600_000;

describe('the level of a lock', () => {
  it.each([
    [later, 'all', 'enforced'],
    [later, 'some', 'advisory'],
    [later, 'none', 'advisory'],
    [later, 'unknown', 'advisory'],
    [NOW, 'none', 'none'],
    [NOW, 'some', 'none'],
    [null, 'unknown', 'none'],
    // The keeper's clock decides, and it may lag.
    [NOW, 'all', 'enforced'],
  ] as const)('of a lock until %p whose files are immutable: %s, is %s', (until, immutable, level) => {
    expect(lockLevel(until, immutable, NOW)).toBe(level);
  });
});

describe('what is read in a round', () => {
  const known = (immutable: KnownLock['immutable'], agoMs: number): KnownLock => ({ immutable, read_at: NOW.getTime() - agoMs });

  it('is what was never read, is not confirmed, or was confirmed an hour ago', () => {
    const all = new Map([
      ['confirmed', known('all', HOUR - 1)],
      ['hour ago', known('all', HOUR)],
      ['missing', known('none', 60_000)],
      ['silent', known('unknown', 120_000)],
    ]);
    expect(locksToRead(['missing', 'confirmed', 'silent', 'hour ago', 'new'], all, NOW.getTime())).toEqual(['new', 'hour ago', 'silent', 'missing']);
  });

  it('is limited', () => {
    expect(
      locksToRead(
        Array.from({ length: 10_000 }, (_, index) => `${index}`),
        new Map(),
        0,
      ),
    ).toHaveLength(500);
  });
});
