import { describe, expect, it } from '@jest/globals';
import { clockVerdict } from './clock-skew.plan.js';

const SENT = 1_000_000;
/** The answer took 200 ms. */
const HEARD = SENT + 200;
const verdict = (other: number, resolution = 0) => clockVerdict('the node', other, SENT, HEARD, resolution);

describe('the clock of another machine', () => {
  it.each([
    ['between question and answer', SENT + 100],
    ['exactly at the question', SENT],
    ['exactly at the answer', HEARD],
    ['5 s after the answer', HEARD + 5_000],
    ['5 s before the question', SENT - 5_000],
  ])('is right when it shows a time %s', (_what, other) => {
    expect(verdict(other).status).toBe('pass');
  });

  it.each([
    ['more than 5 s after the answer', HEARD + 5_001],
    ['more than 5 s before the question', SENT - 5_001],
    ['60 s after the answer', HEARD + 60_000],
    ['60 s before the question', SENT - 60_000],
  ])('is worth a warning when it shows a time %s', (_what, other) => {
    expect(verdict(other)).toMatchObject({ status: 'warn', remedy: expect.stringContaining('NTP') });
  });

  it.each([
    ['after the answer', HEARD + 60_001],
    ['before the question', SENT - 60_001],
  ])('is wrong when it shows a time more than 60 s %s', (_what, other) => {
    expect(verdict(other)).toMatchObject({ status: 'fail', remedy: expect.stringContaining('NTP') });
  });

  it('is given the benefit of how exactly it told the time', () => {
    expect(verdict(SENT - 6_000, 1_000).status).toBe('pass');
    expect(verdict(SENT - 6_001, 1_000).status).toBe('warn');
    expect(verdict(SENT - 500, 1_000).detail).toContain('less than a second');
  });

  it('is said to be behind or ahead, by how much', () => {
    expect(verdict(HEARD + 7_500).detail).toBe('the clock of the node is 7.5 s ahead');
    expect(verdict(SENT - 7_500).detail).toBe('the clock of the node is 7.5 s behind');
    expect(verdict(SENT + 100).detail).toBe('the clock of the node is less than a second off');
  });
});
