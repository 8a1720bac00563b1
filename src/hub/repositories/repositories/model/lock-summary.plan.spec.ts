import { describe, expect, it } from '@jest/globals';
import { LATE_MS, summaryOf } from './lock-summary.plan.js';

const NOW = Date.parse('2027-01-05T12:00:00.000Z');
const point = (ageMs: number, immutable: 'all' | 'some' | 'none' | null) => ({
  sealed_at: NOW - ageMs,
  lock: immutable === null ? null : { immutable, read_at: NOW },
});

describe('the locks of a repository', () => {
  it('are enforced only where that was read back', () => {
    expect(summaryOf([point(1000, 'all'), point(1000, 'some'), point(1000, null)], NOW, false)).toMatchObject({ locked: 3, enforced: 1 });
  });

  it('are late when one waits for longer than the keeper needs', () => {
    expect(summaryOf([point(LATE_MS * 9, 'all'), point(LATE_MS, 'none')], NOW, true)).toMatchObject({
      keeper_late: true,
      unconfirmed_since: '2027-01-05T11:45:00.000Z',
      unconfirmed_seconds: 900,
    });
    expect(summaryOf([point(LATE_MS - 1, 'none')], NOW, true).keeper_late).toBe(false);
    expect(summaryOf([point(LATE_MS * 9, 'all')], NOW, true)).toMatchObject({ keeper_late: false, unconfirmed_since: null });
  });

  it('are not late where no keeper is expected', () => {
    expect(summaryOf([point(LATE_MS * 9, 'none')], NOW, false)).toMatchObject({ keeper_late: false, unconfirmed_since: null });
  });
});
