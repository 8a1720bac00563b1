const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))$/;
/** What both `Date` and PostgreSQL can hold: years 1 to 9999. */
const STORABLE = /^(?!0000)\d{4}-/;

/** A date and time of RFC 3339 in UTC with milliseconds; null for anything else, days that no calendar has included. */
export function normalisedInstant(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  if (isNormalised(value)) return value;
  const parts = RFC_3339.exec(value);
  if (parts === null) return null;
  const [year, month, day, hour, minute, second, offsetHour, offsetMinute] = parts.slice(1).map((part: string | undefined) => Number(part ?? 0));
  if (year === undefined || month === undefined || day === undefined || month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return null;
  // A leap second has no instant of its own in JavaScript or PostgreSQL.
  if ((hour ?? 0) > 23 || (minute ?? 0) > 59 || (second ?? 0) > 59 || (offsetHour ?? 0) > 23 || (offsetMinute ?? 0) > 59) return null;
  const time = Date.parse(value.toUpperCase());
  if (Number.isNaN(time)) return null;
  const normalised = new Date(time).toISOString();
  return STORABLE.test(normalised) ? normalised : null;
}

/** Most instants are written by this program; this is many times faster than taking them apart. */
function isNormalised(value: string): boolean {
  if (value.length !== '1970-01-01T00:00:00.000Z'.length || !STORABLE.test(value)) return false;
  const time = Date.parse(value);
  return !Number.isNaN(time) && new Date(time).toISOString() === value;
}

function daysOf(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}
