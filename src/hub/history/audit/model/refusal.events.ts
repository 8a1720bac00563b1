import type { DomainEvent } from '../../../../kernel/event.js';

/** Requests from one address with no token, a wrong token, or one that is not valid for the route. At most one event a minute per address. */
export type RequestsRefused = DomainEvent<
  'RequestsRefused',
  {
    /** Address of the connections; `others` when too many addresses were refused to count each. */
    readonly source_address: string;
    /** Number since the previous event, or since the first refusal. */
    readonly refused: number;
    /** Code of the last refusal, as sent by the API. */
    readonly code: string;
    readonly method: string;
    /** Truncated and without the query. */
    readonly path: string;
    readonly first_at: string;
    readonly last_at: string;
  }
>;

/** Stream `refusal-<address>`. No command decides on it. */
export function refusalStream(address: string): string {
  return `refusal-${address}`;
}
