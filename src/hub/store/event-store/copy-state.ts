import type { Pool } from 'pg';

/** `unfinished` from the first event that a copy writes until the copy is proven equal to a source that no longer grows. */
export type CopyState = 'unfinished' | 'complete';

/** Written by the role that owns the event store, as a comment on its table, and readable for every role. */
export async function markCopy(pool: Pool, state: CopyState): Promise<void> {
  await pool.query(`comment on table event_store.events is '${state} copy'`);
}

export async function copyState(pool: Pool): Promise<CopyState | null> {
  const { rows } = await pool.query<{ state: string | null }>(`select obj_description('event_store.events'::regclass, 'pg_class') as state`);
  const state = rows[0]?.state ?? null;
  return state === null ? null : state === 'unfinished copy' ? 'unfinished' : 'complete';
}

/** @throws Error for a store that a hub must not use yet */
export function requireWhole(state: CopyState | null, store: string): void {
  if (state !== 'unfinished') return;
  throw new Error(
    `${store} holds an unfinished copy of another store: stop the hub that uses the other store, and finish the copy with "sendense events copy" without --ahead`,
  );
}
