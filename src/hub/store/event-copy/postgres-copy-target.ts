import type { Pool } from 'pg';
import { type CopyState, markCopy } from '../event-store/copy-state.js';
import type { EventStore, RecordedEvent } from '../event-store/event-store.port.js';
import type { CopyTarget } from './copy-target.js';

/** Rows as the store's own function writes them, but with the record time of the source; the role must own the event store. */
const INSERT = `
  insert into event_store.events (position, stream, revision, id, type, category, data, metadata, recorded_at)
  select $1::bigint + number, event->>'stream', (event->>'revision')::integer, (event->>'id')::uuid, event->>'type',
         split_part(event->>'stream', '-', 1), event->'data', event->'metadata', (event->>'recordedAt')::timestamptz
    from jsonb_array_elements($2::jsonb) with ordinality as list (event, number)
   where (select coalesce(max(position), 0) from event_store.events) = $1::bigint`;

/** Positions count from 1, as in any other store in PostgreSQL. One batch is one transaction. */
export class PostgresCopyTarget implements CopyTarget {
  constructor(
    private readonly pool: Pool,
    readonly store: EventStore,
  ) {}

  async write(events: readonly RecordedEvent[], count: number): Promise<void> {
    const { rowCount } = await this.pool.query({ name: 'event_store_copy', text: INSERT, values: [count, JSON.stringify(events)] });
    if (rowCount !== events.length) throw new Error('somebody else has written to the target');
  }

  async mark(state: CopyState): Promise<void> {
    await markCopy(this.pool, state);
  }
}
