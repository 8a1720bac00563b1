/**
 * What an error says, for people. Anything may be thrown, so this takes anything. Of several errors in one that says nothing itself (a connection that no address takes
 * has a cause for each address), what each of them says.
 */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof AggregateError && error.message === '' ? error.errors.map(messageOf).join('; ') : error.message;
}
