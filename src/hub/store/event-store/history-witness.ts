import type { Pool } from 'pg';
import { areComparable, type Position } from '../../../kernel/position.js';
import type { EventStore, RecordedEvent } from './event-store.port.js';

/** An event that rows were folded from. It shows whether a store holds the history that the rows come from. */
export interface HistoryWitness {
  readonly stream: string;
  readonly revision: number;
  readonly event_id: string;
  readonly position: Position;
}

export function witnessOf({ stream, revision, id, position }: RecordedEvent): HistoryWitness {
  return { stream, revision, event_id: id, position };
}

/** The same event in this store, where a copy has another position; null: it is not there. @throws EventStoreUnavailableError */
async function found(store: EventStore, { stream, revision, event_id }: HistoryWitness): Promise<RecordedEvent | null> {
  for await (const event of store.read(stream, { from: revision, limit: 1 })) return event.revision === revision && event.id === event_id ? event : null;
  return null;
}

/**
 * Whether rows that stand at a position were filled from this store, so that they can be continued.
 * @param witness null: an earlier version filled them, and only another kind of store is noticed
 * @throws EventStoreUnavailableError
 */
export async function isFilledFrom(store: EventStore, position: Position | null, witness: HistoryWitness | null): Promise<boolean> {
  if (position === null) return true;
  if (witness !== null) return (await found(store, witness))?.position === witness.position;
  const head = await store.head();
  return head === null || areComparable(position, head);
}

/**
 * For a hub that is about to work on a store.
 * @throws EventStoreUnavailableError; Error if the read models come from a history of which the store holds nothing
 */
export async function requireHistory(store: EventStore, pool: Pool, name: string): Promise<void> {
  const { rows } = await pool.query<{ witness: HistoryWitness }>(
    `select witness from read_models.projection_checkpoints where role = 'live' and witness is not null order by projection`,
  );
  for (const { witness } of rows) if ((await found(store, witness)) !== null) return;
  const [first] = rows;
  if (first === undefined) return;
  const { event_id, stream } = first.witness;
  throw new Error(
    `${name} does not hold the history of this hub: its read models come from other events, such as ${event_id} of stream ${stream}; ` +
      `correct the settings that name the event store, or copy the history with "sendense events copy"; ` +
      `to use the history of ${name} all the same, give the hub an empty database for its read models`,
  );
}
