import { describe, expect, it } from '@jest/globals';
import { cannotFit, expectedBytes } from './expected-size.plan.js';

const full = (bytes: number) => ({ backup_type: 'full' as const, bytes });
const incremental = (bytes: number) => ({ backup_type: 'incremental' as const, bytes });

describe('the space that a backup is expected to need', () => {
  it('is that of the newest full', () => {
    expect(expectedBytes('full', [incremental(1), full(700), full(900)])).toBe(700);
  });

  it('is the median of the newest five incrementals', () => {
    expect(
      expectedBytes('incremental', [incremental(10), incremental(500), incremental(20), incremental(30), full(1), incremental(40), incremental(9e9)]),
    ).toBe(30);
    expect(expectedBytes('incremental', [incremental(10), incremental(20), incremental(30), incremental(40)])).toBe(20);
  });

  it('is unknown without enough of them', () => {
    expect(expectedBytes('full', [incremental(1)])).toBeNull();
    expect(expectedBytes('incremental', [full(1), incremental(1), incremental(2)])).toBeNull();
  });

  it('decides only where it is known', () => {
    expect(cannotFit(null, 0)).toBe(false);
    expect(cannotFit(10, 10)).toBe(false);
    expect(cannotFit(11, 10)).toBe(true);
  });
});
