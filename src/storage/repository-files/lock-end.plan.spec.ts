import { describe, expect, it } from '@jest/globals';
import { lockedFrom } from './lock-end.plan.js';

const BEGIN = Date.parse('2027-01-01T00:00:00.000Z');

describe('the end of a lock', () => {
  it('is a number of days after the sealing, within the years that a time can name', () => {
    expect(lockedFrom(BEGIN, 30)).toBe('2027-01-31T00:00:00.000Z');
    expect(lockedFrom(BEGIN, 0)).toBeNull();
    expect(lockedFrom(BEGIN, 36_500_000)).toBe('9999-12-31T23:59:59.999Z');
  });
});
