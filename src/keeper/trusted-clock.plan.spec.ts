import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { advanceClock, type ClockReading, type TrustedClock } from './trusted-clock.plan.js';

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;
const NOW = Date.parse('2027-01-05T12:00:00.000Z');
const reading = (wall: number, boot: number, boot_id = 'a'): ClockReading => ({ wall_ms: NOW + wall, boot_ms: boot, boot_id });
const known: TrustedClock = { trusted_ms: NOW, at: reading(0, HOUR) };

describe('the trusted clock', () => {
  it('follows the wall clock', () => {
    expect(advanceClock(null, reading(0, 7))).toEqual({ clock: { trusted_ms: NOW, at: reading(0, 7) }, may_unlock: true, alarm: null });
    expect(advanceClock(known, reading(HOUR, 2 * HOUR))).toMatchObject({ clock: { trusted_ms: NOW + HOUR }, may_unlock: true, alarm: null });
  });

  it('gains no time from a clock that is set forward, and says so', () => {
    expect(advanceClock(known, reading(10 * YEAR, HOUR + 60_000))).toMatchObject({
      clock: { trusted_ms: NOW + 60_000 },
      may_unlock: true,
      alarm: 'clock_ahead',
    });
  });

  it('ends no lock while the clock is before what it was', () => {
    expect(advanceClock(known, reading(-HOUR, 2 * HOUR))).toMatchObject({ clock: { trusted_ms: NOW }, may_unlock: false, alarm: 'clock_set_back' });
    expect(advanceClock(known, reading(-1_000, HOUR)).may_unlock).toBe(true);
  });

  it('counts the time since a restart only, however long the machine was off', () => {
    expect(advanceClock(known, reading(10 * YEAR, 60_000, 'b')).clock.trusted_ms).toBe(NOW + 60_000);
  });

  it('never goes back, and never gains more than the boot time that has elapsed', () => {
    const steps = fc.array(
      fc.record({ wall: fc.integer({ min: -YEAR, max: 10 * YEAR }), elapsed: fc.integer({ min: 0, max: 30 * HOUR }), restart: fc.boolean() }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(steps, (list) => {
        let { clock } = advanceClock(null, reading(0, 0, 'boot-0'));
        let boots = 0;
        let boot = 0;
        let really = 0;
        for (const { wall, elapsed, restart } of list) {
          if (restart) [boots, boot] = [boots + 1, 0];
          boot += elapsed;
          really += elapsed;
          const verdict = advanceClock(clock, reading(wall, boot, `boot-${boots}`));
          expect(verdict.clock.trusted_ms).toBeGreaterThanOrEqual(clock.trusted_ms);
          expect(verdict.clock.trusted_ms).toBeLessThanOrEqual(NOW + really);
          if (verdict.may_unlock) expect(verdict.clock.trusted_ms).toBeLessThanOrEqual(NOW + wall + 5_000);
          ({ clock } = verdict);
        }
      }),
    );
  });
});
