const DAY_MS = 86_400_000;
/** The last time that fits ISO 8601 with four digits of the year. */
const LAST_MS = Date.parse('9999-12-31T23:59:59.999Z');

/** Until when a restore point that is sealed now is locked, ISO 8601 in UTC; null: it is not locked. */
export function lockedFrom(sealedAtMs: number, days: number): string | null {
  return days <= 0 ? null : new Date(Math.min(sealedAtMs + days * DAY_MS, LAST_MS)).toISOString();
}
