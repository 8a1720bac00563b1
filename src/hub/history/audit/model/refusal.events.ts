import type { DomainEvent } from '../../../../kernel/event.js';

/** Requests of one address that showed no token, a wrong one, or one that does not open the route. At most one a minute for each address. */
export type RequestsRefused = DomainEvent<
  'RequestsRefused',
  {
    /** Of the connections; `others` when too many addresses were refused to count them one by one. */
    readonly source_address: string;
    /** Since the event before, or since the first of them. */
    readonly refused: number;
    /** Of the last of them, as the API answered it. */
    readonly code: string;
    readonly method: string;
    /** Without the query, its beginning. */
    readonly path: string;
    readonly first_at: string;
    readonly last_at: string;
  }
>;

/** Stream `refusal-<address>`. Nothing is decided on it. */
export function refusalStream(address: string): string {
  return `refusal-${address}`;
}
