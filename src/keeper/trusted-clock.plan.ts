/** The clocks of the machine at one moment. */
export type ClockReading = {
  /** Milliseconds since 1970, as anybody who may set the clock has set it. */
  readonly wall_ms: number;
  /** CLOCK_BOOTTIME: milliseconds since the machine was started, suspended time included. It cannot be set. */
  readonly boot_ms: number;
  /** Names this run of the machine. */
  readonly boot_id: string;
};

/** Time that nobody has set forward. */
export type TrustedClock = { readonly trusted_ms: number; readonly at: ClockReading };

export type ClockVerdict = {
  readonly clock: TrustedClock;
  /** Whether locks may end now. */
  readonly may_unlock: boolean;
  readonly alarm: 'clock_set_back' | 'clock_ahead' | null;
};

/** A clock that is corrected moves by less. */
const TOLERATED_MS = 5_000;
/** Worth an alarm: locks end this much later than the wall clock says. */
const AHEAD_MS = 86_400_000;

/**
 * Advances the trusted time: to the wall clock, but by no more than the boot time that has elapsed. After a restart of the machine that is the time since the
 * restart, because nothing but the wall clock says how long it was off; so locks end later by that time, unless somebody confirms the clock.
 * A wall clock before the trusted time ends no lock.
 * @param known as saved; null: the first reading, which is trusted
 */
export function advanceClock(known: TrustedClock | null, reading: ClockReading): ClockVerdict {
  if (known === null) return { clock: { trusted_ms: reading.wall_ms, at: reading }, may_unlock: true, alarm: null };
  if (reading.wall_ms < known.trusted_ms - TOLERATED_MS) {
    return { clock: { trusted_ms: known.trusted_ms, at: reading }, may_unlock: false, alarm: 'clock_set_back' };
  }
  const since = reading.boot_id === known.at.boot_id ? known.at.boot_ms : 0;
  const elapsed = Math.max(0, reading.boot_ms - since);
  const trusted_ms = Math.max(known.trusted_ms, Math.min(reading.wall_ms, known.trusted_ms + elapsed));
  return { clock: { trusted_ms, at: reading }, may_unlock: true, alarm: reading.wall_ms - trusted_ms > AHEAD_MS ? 'clock_ahead' : null };
}
