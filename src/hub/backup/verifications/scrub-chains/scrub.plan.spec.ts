import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { planScrub, type RecentVerification, type StandingChain } from './scrub.plan.js';

const DAY_MS = 86_400_000;
const NOW = Date.parse('2027-03-01T00:00:00.000Z');

function chain(chain_id: string, days: number, size_bytes = 10, repository_id = 'main'): StandingChain {
  return { chain_id, repository_id, of_copies: false, newest_backup_id: `newest-of-${chain_id}`, size_bytes, checked_at: NOW - days * DAY_MS };
}
function verified(chain_id: string, bytes_checked: number, repository_id = 'main'): RecentVerification {
  return { chain_id, repository_id, backup_id: `of-${chain_id}`, bytes_checked };
}
function planned(chains: readonly StandingChain[], recent: readonly RecentVerification[] = [], percent = 50): readonly string[] {
  return planScrub(chains, recent, percent, NOW).map(({ chain_id }) => chain_id);
}

describe('a scrub', () => {
  it('reads the chains that were not read for longest, as many bytes as the share allows', () => {
    expect(planned([chain('a', 3), chain('b', 9), chain('c', 6), chain('d', 2)])).toEqual(['b', 'c']);
  });
  it('leaves chains alone that were read within the period', () => {
    expect(planned([chain('a', 1.9), chain('b', 2)])).toEqual(['b']);
  });
  it('counts what was read within the last day, also for a user', () => {
    expect(planned([chain('a', 3), chain('b', 9), chain('c', 6), chain('d', 1)], [verified('d', 10)])).toEqual(['b']);
    expect(planned([chain('a', 3), chain('b', 9)], [verified('other', 10)])).toEqual([]);
  });
  it('ends for the day with the chain that reaches the share', () => {
    expect(planned([chain('a', 90, 100), chain('b', 80, 1)], [], 5)).toEqual(['a']);
    expect(planned([chain('a', 90, 1), chain('b', 80, 100), chain('c', 70, 1)], [], 5)).toEqual(['a', 'b']);
  });
  it('does not try a chain again on the day of a verification without a verdict', () => {
    expect(planned([chain('a', 9), chain('b', 8)], [verified('a', 0)])).toEqual(['b']);
  });
  it('gives each repository its share', () => {
    expect(planned([chain('a', 9), chain('b', 8), chain('c', 9, 10, 'second')])).toEqual(['a', 'c']);
  });
  it('reads copies of one chain that do not depend on each other one by one', () => {
    const copied = (days: number): StandingChain => ({ ...chain('a', days, 10, 'copies'), of_copies: true, newest_backup_id: `copied-${days}` });
    expect(planScrub([chain('a', 9), copied(9), copied(8)], [], 50, NOW)).toEqual([chain('a', 9), copied(9)]);
    const aborted = { ...verified('a', 0, 'copies'), backup_id: 'copied-9' };
    expect(planScrub([copied(9), copied(8)], [aborted], 50, NOW)).toEqual([copied(8)]);
  });
  it('is switched off by 0 percent', () => {
    expect(planned([chain('a', 900)], [], 0)).toEqual([]);
  });
  it('reads every chain within the period and the days that one chain per day takes, whatever their sizes', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(sizes, fc.constantFrom(10, 20, 34, 50), (all, percent) => {
        const checked = all.map(() => 0);
        for (let day = 1; day < 50; day += 1) {
          const chains = all.map((size_bytes, index) => ({ ...chain(String(index), 0, size_bytes), checked_at: NOW + (checked[index] ?? 0) * DAY_MS }));
          for (const { chain_id } of planScrub(chains, [], percent, NOW + day * DAY_MS)) checked[Number(chain_id)] = day;
          expect(day - Math.min(...checked)).toBeLessThanOrEqual(100 / percent + all.length);
        }
      }),
    );
  });
});
