const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))$/;
/** The range of both `Date` and PostgreSQL: years 1 to 9999. */
const STORABLE = /^(?!0000)\d{4}-/;

/** Normalises an RFC 3339 date and time to UTC with milliseconds; null for anything else, including dates that do not exist. */
export function normalisedInstant(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  if (isNormalised(value)) return value;
  const parts = RFC_3339.exec(value);
  if (parts === null) return null;
  const [year, month, day, hour, minute, second, offsetHour, offsetMinute] = parts.slice(1).map((part: string | undefined) => Number(part ?? 0));
  if (year === undefined || month === undefined || day === undefined || month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return null;
  // Neither JavaScript nor PostgreSQL can represent a leap second.
  if ((hour ?? 0) > 23 || (minute ?? 0) > 59 || (second ?? 0) > 59 || (offsetHour ?? 0) > 23 || (offsetMinute ?? 0) > 59) return null;
  const time = Date.parse(value.toUpperCase());
  if (Number.isNaN(time)) return null;
  const normalised = new Date(time).toISOString();
  return STORABLE.test(normalised) ? normalised : null;
}

/** A fast path: most instants were written by this program, and parsing them takes many times longer. */
function isNormalised(value: string): boolean {
  if (value.length !== '1970-01-01T00:00:00.000Z'.length || !STORABLE.test(value)) return false;
  const time = Date.parse(value);
  return !Number.isNaN(time) && new Date(time).toISOString() === value;
}

function daysOf(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}
