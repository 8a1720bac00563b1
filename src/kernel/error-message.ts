/**
 * The message of an error, for people. Accepts any value, because anything may be thrown. An AggregateError without a message (a failed connection has one
 * cause per address) yields the messages of its errors.
 */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof AggregateError && error.message === '' ? error.errors.map(messageOf).join('; ') : error.message;
}
