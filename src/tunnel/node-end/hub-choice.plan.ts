import type { TunnelCauseCode } from '../interface/tunnel-state.plan.js';

/** Which of several hubs to connect to next. */
export interface HubChoice {
  /** Index of its address. */
  readonly current: number;
  /** Why the last connection to each address ended, by index; absent: not tried yet, or it has answered since. */
  readonly ends: Readonly<Record<number, TunnelCauseCode>>;
  /** Since when the current one has refused this node's key without a break, in milliseconds of a monotonic clock. */
  readonly refusedSinceMs: number | null;
}

export const FIRST_HUB: HubChoice = { current: 0, ends: {}, refusedSinceMs: null };

/** Longer than a lease and the start of a hub that takes over. */
const STANDBY_PATIENCE_MS = 15_000;

/**
 * A connection to the current hub has ended. A standby refuses all keys. While no other hub answers it is about to become the active one, so the node stays
 * with it for STANDBY_PATIENCE_MS: a look at a hub that is gone takes seconds.
 */
export function afterEnd(choice: HubChoice, code: TunnelCauseCode, hubs: number, nowMs: number): HubChoice {
  const { current } = choice;
  const ends = { ...choice.ends, [current]: code };
  const othersAreGone = Array.from({ length: hubs }, (_, index) => ends[index]).every(
    (end, index) => index === current || (end !== undefined && end !== 'key_refused'),
  );
  const refusedSinceMs = code === 'key_refused' ? (choice.refusedSinceMs ?? nowMs) : null;
  if (refusedSinceMs !== null && othersAreGone && nowMs - refusedSinceMs < STANDBY_PATIENCE_MS) return { current, ends, refusedSinceMs };
  return { current: (current + 1) % hubs, ends, refusedSinceMs: null };
}

/** The current hub answers. */
export function afterAnswer({ current }: HubChoice): HubChoice {
  return { current, ends: {}, refusedSinceMs: null };
}
