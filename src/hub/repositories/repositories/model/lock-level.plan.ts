/** Of the files of a restore point, as read from the file system. */
export type Immutable = 'all' | 'some' | 'none' | 'unknown';

export type LockLevel = 'none' | 'advisory' | 'enforced';

/**
 * Who keeps a restore point from being removed. Nothing is enforced that was not read back.
 * @param lockedUntil null: it was never locked
 */
export function lockLevel(lockedUntil: Date | null, immutable: Immutable, now: Date): LockLevel {
  if (immutable === 'all') return 'enforced';
  return lockedUntil !== null && lockedUntil > now ? 'advisory' : 'none';
}

/** A locked restore point as it was read last. */
export interface KnownLock {
  /** Milliseconds since 1970; null: not read since the hub started. */
  readonly read_at: number | null;
  readonly immutable: Immutable;
}

/** A confirmed lock is read again after this time, an unconfirmed one in each round. */
const CONFIRMED_MS = 3_600_000;
/** So many are read in one round, those first that were not read for longest. */
const MOST_AT_ONCE = 500;

/** The restore points whose attributes are read in this round. */
export function locksToRead(locked: readonly string[], known: ReadonlyMap<string, KnownLock>, now: number): readonly string[] {
  const readAt = (id: string): number => known.get(id)?.read_at ?? -Infinity;
  return locked
    .filter((id) => known.get(id)?.immutable !== 'all' || now - readAt(id) >= CONFIRMED_MS)
    .sort((one, other) => readAt(one) - readAt(other) || 0)
    .slice(0, MOST_AT_ONCE);
}
