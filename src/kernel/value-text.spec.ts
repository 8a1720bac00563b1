import { describe, expect, it } from '@jest/globals';
import { valueText } from './value-text.js';

describe('a value for people', () => {
  it.each([
    ['text', null, '-'],
    ['text', 'web-1', 'web-1'],
    ['text', 'a\u001b[2Jb\nc\u2028d', 'a [2Jb c d'],
    ['time', '2027-01-05T12:00:00.123Z', '2027-01-05 12:00:00 UTC'],
    ['time', 'not\ta time', 'not a time'],
    ['seconds', 0, '0 s'],
    ['seconds', 59, '59 s'],
    ['seconds', 3600, '1 h'],
    ['seconds', 3661, '1 h 1 min'],
    ['seconds', 86_400 * 3 + 59, '3 d'],
    ['seconds', 86_400 + 7200, '1 d 2 h'],
    ['percent', 99.5, '99.5 %'],
    ['bytes', 1536, '1.5 KiB'],
    ['bytes', -1536, '-1.5 KiB'],
    ['count', 12, '12'],
  ] as const)('of the unit %s: %j is %j', (unit, value, text) => {
    expect(valueText(unit, value)).toBe(text);
  });
});
