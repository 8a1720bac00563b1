import { describe, expect, it } from '@jest/globals';
import { levelOf, usedPercent } from './capacity-level.plan.js';

const thresholds = { warning_percent: 80, critical_percent: 90 };
const used = (percent: number) => ({ total_bytes: 1000, free_bytes: 1000 - percent * 10 });

describe('the level of a repository', () => {
  it.each([
    [79.9, 'ok', 'ok'],
    [80, 'ok', 'warning'],
    [90, 'ok', 'critical'],
    [89.9, 'critical', 'critical'],
    [88.9, 'critical', 'warning'],
    [79.5, 'warning', 'warning'],
    [79.5, 'critical', 'warning'],
    [78.9, 'critical', 'ok'],
  ] as const)('at %d percent, after %s, is %s', (percent, before, level) => {
    expect(levelOf(used(percent), thresholds, before)).toBe(level);
  });

  it('is critical without any space, and where more is free than there is, nothing is used', () => {
    expect(levelOf({ total_bytes: 0, free_bytes: 0 }, thresholds, 'ok')).toBe('critical');
    expect(usedPercent({ total_bytes: 10, free_bytes: 11 })).toBe(0);
  });
});
