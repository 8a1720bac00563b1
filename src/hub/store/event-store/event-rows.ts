import type { Pool } from 'pg';
import type { JsonObject } from '../../../kernel/json.js';
import { isConnectionError } from '../postgres/connection-errors.js';
import type { Position } from '../../../kernel/position.js';
import { type EventMetadata, EventStoreUnavailableError, type RecordedEvent } from './event-store.port.js';
import { decodePosition, encodePosition } from './position-encoding.js';
import type { Page } from './recent-events.js';

interface EventRow {
  readonly position: string;
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly data: JsonObject;
  readonly metadata: EventMetadata;
  readonly recorded_at: Date;
  readonly stored_bytes: number;
}

/** `found_count` is the number of rows before the page was cut to its byte limit. */
type HeadAndEventRow = { readonly head: string | null } & ((EventRow & { readonly found_count: string }) | { readonly position: null });

/** Maximum compressed bytes of events per fetch, so that streams of large events do not fill the memory. At least one event is fetched. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

const COLUMNS = `position, stream, revision, id, type, data, metadata, recorded_at, pg_column_size(data) + pg_column_size(metadata) as stored_bytes`;

/** Events of one stream starting at `from`, in the given direction; `complete` when there are no more in that direction. */
export async function fetchStreamPage(
  pool: Pool,
  stream: string,
  from: number,
  direction: 'forwards' | 'backwards',
  limit: number,
): Promise<{ readonly events: readonly RecordedEvent[]; readonly complete: boolean }> {
  const [comparison, order] = direction === 'forwards' ? ['>=', 'asc'] : ['<=', 'desc'];
  const rows = await query<EventRow & { readonly found_count: string }>(
    pool,
    `event_store_read_${direction}`,
    `select * from (
       select page.*, count(*) over () as found_count, sum(stored_bytes) over (order by revision ${order}) - stored_bytes as before_bytes
       from (select ${COLUMNS} from event_store.events where stream = $1 and revision ${comparison} $2 order by revision ${order} limit $3) page
     ) sized where before_bytes < ${MAX_PAGE_BYTES} order by revision ${order}`,
    [stream, from, limit],
  );
  const foundCount = Number(rows[0]?.found_count ?? 0);
  return { events: rows.map(toRecorded), complete: foundCount < limit && rows.length === foundCount };
}

/** The largest `bigint`. */
const LAST_POSITION = '9223372036854775807';

/**
 * Compares and orders by the whole key of the index: with `category = ... order by position` the planner, which does not know the category at plan
 * time, walks all events by position if a category is rare. Positions of each category come from the index alone; only the events of the page are
 * fetched.
 */
export const EVENTS_IN_CATEGORIES_AFTER = `
  select event.* from (
    select listed.position from unnest($3::text[]) as wanted (name) cross join lateral (
      select position from event_store.events
       where (category, position) > (wanted.name, $1::bigint) and (category, position) <= (wanted.name, ${LAST_POSITION})
       order by category, position limit $2
    ) listed order by position limit $2
  ) page cross join lateral (select ${COLUMNS} from event_store.events where position = page.position limit 1) event`;

/** Events of all streams, or of some categories, after a position. One statement reads head and events, so both are from one snapshot. */
export async function fetchPageAfter(pool: Pool, after: Position | null, limit: number, categories?: readonly string[]): Promise<Page> {
  const start = decodePosition(after);
  const rows =
    categories === undefined
      ? await query<HeadAndEventRow>(
          pool,
          'event_store_after',
          withHead(`select ${COLUMNS} from event_store.events where position > $1 order by position limit $2`),
          [start, limit],
        )
      : await query<HeadAndEventRow>(pool, 'event_store_after_in_categories', withHead(EVENTS_IN_CATEGORIES_AFTER), [start, limit, [...new Set(categories)]]);
  const head = rows[0]?.head ?? null;
  const found = rows.filter((row) => row.position !== null);
  const foundCount = Number(found[0]?.found_count ?? 0);
  const events = found.map(toRecorded);
  const complete = foundCount < limit && found.length === foundCount;
  const newest = head === null ? null : encodePosition(head);
  return { events, upTo: complete ? newest : (events.at(-1)?.position ?? null), complete };
}

/** Newest position of the store; null in an empty store. */
export async function fetchHead(pool: Pool): Promise<Position | null> {
  const [row] = await query<{ head: string | null }>(pool, 'event_store_head', 'select max(position) as head from event_store.events', []);
  const head = row?.head ?? null;
  return head === null ? null : encodePosition(head);
}

function withHead(events: string): string {
  return `select newest.head, page.* from (select max(position) as head from event_store.events) newest left join lateral (
    select * from (
      select found.*, count(*) over () as found_count, sum(stored_bytes) over (order by position) - stored_bytes as before_bytes
      from (${events}) found
    ) sized where before_bytes < ${MAX_PAGE_BYTES}
  ) page on true order by page.position`;
}

async function query<Row extends object>(pool: Pool, name: string, text: string, values: unknown[]): Promise<Row[]> {
  try {
    return (await pool.query<Row>({ name, text, values })).rows;
  } catch (error) {
    if (isConnectionError(error)) throw new EventStoreUnavailableError('the event store cannot be reached at the moment', { cause: error });
    throw error;
  }
}

function toRecorded(row: EventRow): RecordedEvent {
  return {
    id: row.id,
    stream: row.stream,
    revision: row.revision,
    position: encodePosition(row.position),
    type: row.type,
    data: row.data,
    metadata: row.metadata,
    recordedAt: row.recorded_at.toISOString(),
  };
}
