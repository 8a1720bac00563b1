import { describe, expect, it } from '@jest/globals';
import { simulatedTime } from './simulated-time.decide.js';

const NOW = '2026-11-24T12:00:00.000Z';

describe('the time that is simulated', () => {
  it.each([
    ['48h', '2026-11-26T12:00:00.000Z'],
    ['365d', '2027-11-24T12:00:00.000Z'],
    ['1096d', '2029-11-24T12:00:00.000Z'],
  ])('ahead is the horizon: %s until %s', (horizon, until) => {
    expect(simulatedTime(horizon, null, NOW)).toEqual({ until });
  });

  it('ahead is at most three years', () => {
    expect(() => simulatedTime('1097d', null, NOW)).toThrow(
      expect.objectContaining({ code: 'simulated_time_invalid', facts: { field: 'horizon', rule: 'at_most_three_years' } }),
    );
  });

  it.each([[NOW], ['2026-11-24T12:00:00.001Z']])('begins in the past, not at %s', (since) => {
    expect(() => simulatedTime('1d', since, NOW)).toThrow(
      expect.objectContaining({ code: 'simulated_time_invalid', facts: { field: 'since', rule: 'in_the_past' } }),
    );
    expect(simulatedTime('1d', '2026-11-24T11:59:59.999Z', NOW)).toEqual({ until: '2026-11-25T12:00:00.000Z' });
  });
});
