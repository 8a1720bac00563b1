import type { KnownLock } from './lock-level.plan.js';

/** A keeper that has not locked a restore point for so long is late. */
export const LATE_MS = 15 * 60_000;

/** The locks of a repository, as read last. */
export type LockSummary = {
  /** Restore points and copies that are locked now. */
  readonly locked: number;
  /** Those of them whose files are all immutable. */
  readonly enforced: number;
  /** Since when the oldest of the others waits for the keeper, ISO 8601 in UTC; null: there is none, or no keeper is expected. */
  readonly unconfirmed_since: string | null;
  readonly unconfirmed_seconds: number;
  readonly keeper_late: boolean;
  readonly read_at: string;
};

/**
 * @param points the locked ones of a repository, each with when it was sealed in milliseconds since 1970, and its lock as read last
 * @param expected whether a keeper should lock them
 */
export function summaryOf(points: readonly { readonly sealed_at: number; readonly lock: KnownLock | null }[], now: number, expected: boolean): LockSummary {
  const waiting = points.filter(({ lock }) => lock?.immutable !== 'all');
  const oldest = expected && waiting.length > 0 ? Math.min(...waiting.map(({ sealed_at }) => sealed_at)) : null;
  const forMs = oldest === null ? 0 : Math.max(0, now - oldest);
  return {
    locked: points.length,
    enforced: points.length - waiting.length,
    unconfirmed_since: oldest === null ? null : new Date(oldest).toISOString(),
    unconfirmed_seconds: Math.floor(forMs / 1000),
    keeper_late: forMs >= LATE_MS,
    read_at: new Date(now).toISOString(),
  };
}
