import pg from 'pg';
import { type DataSource, type QueryRunner, QueryFailedError } from 'typeorm';
import { messageOf } from '../../../kernel/error-message.js';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import type { Position } from '../../../kernel/position.js';
import type { RecordedEvent } from '../event-store/event-store.port.js';
import { type HistoryWitness, witnessOf } from '../event-store/history-witness.js';
import {
  type FoldedRow,
  FoldedRows,
  type FoldInOrder,
  keyOf,
  type PastVersion,
  type Projection,
  type RecentRows,
  referencesOf,
  type RowChanges,
} from './projection-definition.js';
import { asOfViewDdl, forkOf } from './as-of.js';
import {
  AS_OF_SCHEMA,
  type Column,
  columnDdl,
  columnsDdl,
  type ColumnType,
  neutralValue,
  quoted,
  type ReadModelDefinition,
  recordsSince,
  SCHEMA,
  shapeOf,
} from './read-model-definition.js';

/** How long a switch waits for running queries of readers before it is retried. New readers queue behind it meanwhile. */
const SWITCH_LOCK_TIMEOUT_MS = 1_000;
/** Encoded as in `position-encoding.ts`. */
const ENCODED_POSITION = `lpad(position::text, 19, '0')`;

export interface HaltedAt {
  readonly position: Position;
  readonly event_id: string;
  readonly error: string;
}

export interface Checkpoint {
  readonly generation: number;
  readonly role: 'live' | 'building';
  /** Null: no event has been folded. */
  readonly position: Position | null;
  readonly halted: HaltedAt | null;
  /** Null: no event has been folded, or only by an earlier version. */
  readonly witness: HistoryWitness | null;
  /** The shape in which its rows were built; null: built by a version without shapes. */
  readonly shape: string | null;
}

/** The checkpoint is not where this runner left it: another runner writes the same read model. Nothing was written. */
export class LostCheckpointRaceError extends Error {
  override readonly name = 'LostCheckpointRaceError';
  constructor(
    readonly projection: string,
    readonly generation: number,
    readonly expected: Position | null,
  ) {
    super(`projection ${projection} (generation ${generation}): its checkpoint is no longer at ${expected ?? 'the beginning'}; another runner has moved it`);
  }
}

/** Events cannot be folded or their rows cannot be stored, and a retry will not help. */
export class UnprojectableError extends Error {
  override readonly name = 'UnprojectableError';
}

/** The SQL of read models: per generation a table of rows and one of their past versions, views over the live generation, and checkpoints. */
export class ProjectionTables {
  constructor(private readonly dataSource: DataSource) {}

  async checkpoints(projection: ReadModelDefinition): Promise<readonly Checkpoint[]> {
    const rows: {
      generation: number;
      role: 'live' | 'building';
      position: string | null;
      halted_position: string | null;
      halted_event_id: string | null;
      halted_error: string | null;
      witness: HistoryWitness | null;
      shape: string | null;
    }[] = await this.dataSource.query(
      `select generation, role, position, halted_position, halted_event_id, halted_error, witness, shape
         from ${SCHEMA}.projection_checkpoints where projection = $1 order by generation`,
      [projection.name],
    );
    return rows.map(({ generation, role, position, halted_position, halted_event_id, halted_error, witness, shape }) => ({
      generation,
      shape,
      witness,
      role,
      position,
      halted: halted_position === null ? null : { position: halted_position, event_id: halted_event_id ?? '', error: halted_error ?? '' },
    }));
  }

  /** @throws Error if the read model was not prepared */
  async liveCheckpoint(projection: ReadModelDefinition): Promise<Checkpoint> {
    const live = (await this.checkpoints(projection)).find(({ role }) => role === 'live');
    if (live === undefined) throw new Error(`projection ${projection.name} has no live generation`);
    return live;
  }

  /**
   * Folds a batch into the rows of one generation and moves its checkpoint from `from` to `to`, in one transaction. A generation that is `catchingUp`
   * does not wait for the disk.
   * @param options.recent rows that need not be read again; updated when the batch is committed, and cleared if it is not
   * @throws LostCheckpointRaceError, UnprojectableError, or the driver's error if the database is unavailable
   */
  async apply(
    projection: Projection,
    generation: number,
    events: readonly RecordedEvent[],
    from: Position | null,
    to: Position,
    { catchingUp = false, recent }: { readonly catchingUp?: boolean; readonly recent?: RecentRows } = {},
  ): Promise<void> {
    let changes: RowChanges = { written: [], deleted: [], past: [] };
    try {
      await this.inTransaction(async (runner) => {
        // A crash loses rows and checkpoint together, so no event is missed; nobody relies on rows that are still behind.
        // A generic plan does not contain the batch: planning would parse it, and copy it again and again.
        if (catchingUp) await runner.query('set local synchronous_commit = off; set local plan_cache_mode = force_generic_plan');
        await this.moveCheckpoint(runner, projection, generation, from, to, events.at(-1));
        if (events.length > 0) changes = await this.fold(runner, projection, generation, events, recent);
      });
    } catch (error) {
      recent?.clear();
      throw error;
    }
    recent?.committed(changes);
  }

  private async fold(
    runner: QueryRunner,
    projection: Projection,
    generation: number,
    events: readonly RecordedEvent[],
    recent: RecentRows | undefined,
  ): Promise<RowChanges> {
    if (projection.inOrder !== undefined) return this.foldInOrder(runner, projection, projection.inOrder, generation, events, recent);
    const rows = new FoldedRows(projection, await this.loadTouched(runner, projection, generation, events, recent));
    for (const event of events) {
      try {
        rows.apply(event);
      } catch (error) {
        throw new UnprojectableError(`projection ${projection.name} cannot fold ${event.type} of ${event.stream}: ${messageOf(error)}`, { cause: error });
      }
    }
    const changes = rows.changes();
    const { written, deleted, past } = changes;
    try {
      if (written.length > 0) await this.upsert(runner, projection, generation, written);
      if (deleted.length > 0) await this.delete(runner, projection, generation, deleted);
      if (past.length > 0) await this.insertPast(runner, projection, generation, past);
      await this.moveTallies(runner, projection, generation, rows.tallyChanges());
    } catch (error) {
      if (!isRefusedData(error)) throw error;
      throw new UnprojectableError(`projection ${projection.name} cannot store its rows: ${messageOf(error)}`, { cause: error });
    }
    return changes;
  }

  private async foldInOrder(
    runner: QueryRunner,
    projection: Projection,
    inOrder: FoldInOrder,
    generation: number,
    events: readonly RecordedEvent[],
    recent: RecentRows | undefined,
  ): Promise<RowChanges> {
    const newest = recent?.newest ?? (await this.newestRows(runner, projection, inOrder, generation));
    const folded = inOrder.fold(newest, events);
    await this.upsert(
      runner,
      projection,
      generation,
      folded.map(({ row, position }) => ({ row, position, since: position })),
    );
    if (recent !== undefined) recent.newest = newestOf(projection, inOrder, [...newest, ...folded.map(({ row }) => row)]);
    return { written: [], deleted: [], past: [] };
  }

  private async newestRows(runner: QueryRunner, projection: Projection, inOrder: FoldInOrder, generation: number): Promise<readonly JsonObject[]> {
    const key = quoted(projection.key);
    const newest = await select<StoredRow>(
      runner,
      `select to_jsonb(found) as row from unnest($1::text[]) as prefix cross join lateral (
         select * from ${table(projection, generation)} where ${key} > prefix and ${key} < prefix || '~' order by ${key} desc limit 1
       ) found`,
      [inOrder.prefixes],
    );
    return newest.map(({ row }) => fromRecord(projection, row).row);
  }

  /**
   * Copies the next `count` events after `from` into a generation of a `copied` projection, and moves its checkpoint.
   * @returns the new position; null: there are fewer events, and nothing was done
   * @throws LostCheckpointRaceError, UnprojectableError, or the driver's error if the database is unavailable
   */
  async copy(projection: Projection, generation: number, from: Position | null, count: number): Promise<Position | null> {
    const { copied } = projection;
    if (copied === undefined) throw new Error(`projection ${projection.name} does not copy events`);
    return this.inTransaction(async (runner) => {
      await runner.query('set local synchronous_commit = off');
      const [last] = await select<{ to: Position }>(
        runner,
        `select ${ENCODED_POSITION} as to from event_store.events where position > $1::bigint order by position offset $2 limit 1`,
        [from ?? '0', count - 1],
      );
      if (last === undefined) return null;
      await this.moveCheckpoint(runner, projection, generation, from, last.to);
      const values = storedColumns(projection).map((column) => copied[column] ?? ENCODED_POSITION);
      try {
        await runner.query(
          `insert into ${table(projection, generation)} (${storedColumns(projection).map(quoted).join(', ')}) select ${values.join(', ')}
             from event_store.events where position > $1::bigint and position <= $2::bigint order by event_store.events.position`,
          [from ?? '0', last.to],
        );
      } catch (error) {
        if (!isRefusedData(error)) throw error;
        throw new UnprojectableError(`projection ${projection.name} cannot copy events: ${messageOf(error)}`, { cause: error });
      }
      return last.to;
    });
  }

  /** Moves the live checkpoint back to the newest event that was folded. @returns false: an earlier version folded, and did not record it */
  async returnToWitness(projection: Projection): Promise<boolean> {
    const moved: unknown[] = await this.dataSource.query(
      `with moved as (
         update ${SCHEMA}.projection_checkpoints set position = witness ->> 'position', updated_at = now()
          where projection = $1 and role = 'live' and (witness is not null or position is null)
         returning generation)
       select generation from moved`,
      [projection.name],
    );
    return moved.length > 0;
  }

  async recordHalt(projection: Projection, generation: number, halt: HaltedAt): Promise<void> {
    await this.dataSource.query(
      `update ${SCHEMA}.projection_checkpoints set halted_position = $3, halted_event_id = $4, halted_error = $5, updated_at = now()
        where projection = $1 and generation = $2`,
      [projection.name, generation, halt.position, halt.event_id, halt.error],
    );
  }

  /**
   * Creates the read model if it is missing. Live rows of another shape are fitted to the definition, so that queries and events find every column: a new
   * column holds null or a neutral value, until a generation of the new shape replaces them.
   */
  async prepare(definition: ReadModelDefinition): Promise<void> {
    await this.inTransaction(async (runner) => {
      const [live] = await select<{ generation: number; shape: string | null; position: string | null }>(
        runner,
        `select generation, shape, position from ${SCHEMA}.projection_checkpoints where projection = $1 and role = 'live' for update`,
        [definition.name],
      );
      if (live?.shape === shapeOf(definition)) return;
      await runner.query(`drop view if exists ${view(definition)}, ${asOfView(definition)}`);
      const generation = live?.generation ?? 1;
      if (live === undefined || live.position === null) {
        // Without a checkpoint the table is one that a migration of an earlier version created.
        await runner.query(`drop table if exists ${table(definition, generation)}, ${pastTable(definition, generation)}`);
        await runner.query(`delete from ${SCHEMA}.projection_checkpoints where projection = $1 and generation = $2`, [definition.name, generation]);
        await this.createTable(runner, definition, generation, 'live');
        for (const index of indexesDdl(definition, generation)) await runner.query(index);
      } else await this.fit(runner, definition, generation);
      await this.createViews(runner, definition, generation);
    });
  }

  private async createViews(runner: QueryRunner, definition: ReadModelDefinition, generation: number): Promise<void> {
    await runner.query(`create view ${view(definition)} as select ${columnList(definition)} from ${table(definition, generation)}`);
    await runner.query(`create view ${asOfView(definition)} as ${asOfViewDdl(definition, table(definition, generation), pastTable(definition, generation))}`);
  }

  /** Every statement takes the same short time however many rows there are. */
  private async fit(runner: QueryRunner, definition: ReadModelDefinition, generation: number): Promise<void> {
    const alter = `alter table ${table(definition, generation)}`;
    const found = await select<{ name: string; type: string; required: boolean }>(
      runner,
      `select attname as name, replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz') as type, attnotnull as required
         from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped and not attname = any($2)`,
      [table(definition, generation), ['position', ...(recordsSince(definition) ? ['valid_from'] : [])]],
    );
    for (const { name, type, required } of found) {
      const column = definition.columns[name];
      if (column !== undefined && column.type !== type) await runner.query(`${alter} drop column ${quoted(name)}`);
      else if (required && column?.isNullable !== false) await runner.query(`${alter} alter column ${quoted(name)} drop not null`);
    }
    for (const [name, column] of Object.entries(definition.columns)) {
      if (found.some((each) => each.name === name && each.type === column.type)) continue;
      await runner.query(`${alter} add column ${columnDdl(name, column)}${column.isNullable ? '' : ` default ${neutralLiteral(column.type)}`}`);
    }
    if (recordsSince(definition)) await runner.query(`${alter} add column if not exists valid_from text collate "C" not null default ''`);
    // The past of rows of another shape is known again when they are rebuilt.
    await runner.query(`drop table if exists ${pastTable(definition, generation)}`);
    await this.createPastTable(runner, definition, generation);
    await runner.query(pastIndexesDdl(definition, generation).join('; '));
  }

  /** Creates an empty generation next to the live one, with only the indexes that are needed while it is filled; see `buildIndexes`. */
  async createGeneration(projection: ReadModelDefinition): Promise<number> {
    return this.inTransaction(async (runner) => {
      const rows = await select<{ generation: number; role: string }>(
        runner,
        `select generation, role from ${SCHEMA}.projection_checkpoints where projection = $1 order by generation for update`,
        [projection.name],
      );
      const generation = Math.max(0, ...rows.map((row) => row.generation)) + 1;
      await this.createTable(runner, projection, generation, 'building');
      return generation;
    });
  }

  private async createTable(runner: QueryRunner, definition: ReadModelDefinition, generation: number, role: Checkpoint['role']): Promise<void> {
    const { name, key, references } = definition;
    const on = table(definition, generation);
    const since = recordsSince(definition) ? ', valid_from text collate "C" not null' : '';
    await runner.query(`create table ${on} (${columnsDdl(definition).join(', ')}${since}, primary key (${quoted(key)}))`);
    await this.createPastTable(runner, definition, generation);
    if (references !== undefined) await runner.query(`create index on ${on} using gin (${quoted(references)}) with (fastupdate = off)`);
    await runner.query(`insert into ${SCHEMA}.projection_checkpoints (projection, generation, role, shape) values ($1, $2, $3, $4)`, [
      name,
      generation,
      role,
      shapeOf(definition),
    ]);
  }

  private async createPastTable(runner: QueryRunner, definition: ReadModelDefinition, generation: number): Promise<void> {
    // Rows that were fitted to the definition may lack a value that it requires.
    const columns = Object.entries<Column>(definition.columns).map(([name, column]) => columnDdl(name, column.nullable()));
    const validity = ['valid_from', 'valid_to', 'fork'].map((name) => `${name} text collate "C" not null`);
    await runner.query(`create table ${pastTable(definition, generation)} (${[...columns, ...validity].join(', ')})`);
  }

  /**
   * Makes a caught-up generation the live one and drops the old, in one transaction, so that a reader sees one or the other.
   * @param isOfOtherHistory whether the old one was, so that their positions cannot be compared
   * @throws LostCheckpointRaceError if either generation is not where the caller expects it
   */
  async switchTo(projection: Projection, generation: number, from: Position | null, to: Position | null, isOfOtherHistory = false): Promise<void> {
    await this.inTransaction(async (runner) => {
      await runner.query(`set local lock_timeout = ${SWITCH_LOCK_TIMEOUT_MS}`);
      const rows = await select<{ generation: number; role: string; position: string | null }>(
        runner,
        `select generation, role, position from ${SCHEMA}.projection_checkpoints where projection = $1 order by generation for update`,
        [projection.name],
      );
      const live = rows.find(({ role }) => role === 'live');
      const building = rows.find((row) => row.generation === generation && row.role === 'building');
      if (live === undefined || building === undefined || building.position !== from) {
        throw new LostCheckpointRaceError(projection.name, generation, from);
      }
      if (!isOfOtherHistory && live.position !== null && (to === null || to < live.position))
        throw new LostCheckpointRaceError(projection.name, live.generation, to);
      // Its columns may be others than those of the live generation, which `create or replace` refuses.
      await runner.query(`drop view ${view(projection)}, ${asOfView(projection)}`);
      await this.createViews(runner, projection, generation);
      await runner.query(`delete from ${SCHEMA}.projection_checkpoints where projection = $1 and generation = $2`, [projection.name, live.generation]);
      await runner.query(`delete from ${SCHEMA}.projection_tallies where projection = $1 and generation = $2`, [projection.name, live.generation]);
      await runner.query(
        `update ${SCHEMA}.projection_checkpoints set role = 'live', position = $3, updated_at = now() where projection = $1 and generation = $2`,
        [projection.name, generation, to],
      );
      await runner.query(`drop table ${table(projection, live.generation)}, ${pastTable(projection, live.generation)}`);
    });
  }

  /** Removes the leftovers of an interrupted rebuild: every generation except the live one. Returns the removed generations. */
  async dropLeftovers(projection: Projection): Promise<readonly number[]> {
    return this.inTransaction(async (runner) => {
      const live = await select<{ generation: number }>(
        runner,
        `select generation from ${SCHEMA}.projection_checkpoints where projection = $1 and role = 'live' for update`,
        [projection.name],
      );
      const tables = await select<{ tablename: string }>(runner, `select tablename from pg_tables where schemaname = $1 and tablename ~ $2`, [
        SCHEMA,
        `^${projection.name}_g[0-9]+(_past)?$`,
      ]);
      const generations = new Set(tables.map(({ tablename }) => Number.parseInt(tablename.slice(projection.name.length + 2), 10)));
      const leftovers = [...generations].filter((generation) => live.every((row) => row.generation !== generation) && live.length > 0);
      for (const generation of leftovers) {
        await runner.query(`drop table if exists ${table(projection, generation)}, ${pastTable(projection, generation)}`);
      }
      await runner.query(`delete from ${SCHEMA}.projection_checkpoints where projection = $1 and role = 'building'`, [projection.name]);
      await runner.query(`delete from ${SCHEMA}.projection_tallies where projection = $1 and not generation = any($2::integer[])`, [
        projection.name,
        live.map(({ generation }) => generation),
      ]);
      return leftovers;
    });
  }

  /**
   * Builds the indexes that a filled generation still lacks: this is many times cheaper than maintaining them row by row. Uses its own connection without
   * a timeout.
   * @param signal aborts it, between two indexes or within one
   */
  async buildIndexes(projection: Projection, generation: number, signal: AbortSignal): Promise<void> {
    const { options } = this.dataSource;
    const client = new pg.Client({ ...(options.type === 'postgres' ? { connectionString: options.url } : {}), application_name: 'sendense', keepAlive: true });
    client.on('error', () => undefined);
    await client.connect();
    try {
      // PostgreSQL must not keep working for a killed hub on a table that the next start removes.
      await client.query(`set client_connection_check_interval = '1s'`);
      for (const index of indexesDdl(projection, generation)) {
        signal.throwIfAborted();
        const cancel = (): void => void this.cancel(client);
        signal.addEventListener('abort', cancel);
        try {
          await client.query(index);
        } finally {
          signal.removeEventListener('abort', cancel);
        }
      }
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  private async cancel(client: pg.Client): Promise<void> {
    // Also end the connection, in case the cancel request gets lost.
    await this.dataSource.query('select pg_cancel_backend($1)', [processIdOf(client)]).catch(() => undefined);
    await client.end().catch(() => undefined);
  }

  /** Gives the planner statistics of a generation that was just filled; otherwise readers would use plans for an empty table until autovacuum runs. */
  async analyze(projection: Projection, generation: number): Promise<void> {
    await this.dataSource.query(`analyze ${table(projection, generation)}, ${pastTable(projection, generation)}`);
  }

  /** Number of rows of the live generation per value of the tallied column. */
  async tally(projection: Projection): Promise<ReadonlyMap<string, number>> {
    const rows: { value: string; rows: string }[] = await this.dataSource.query(
      `select value, rows from ${SCHEMA}.projection_tallies join ${SCHEMA}.projection_checkpoints using (projection, generation)
        where projection = $1 and role = 'live'`,
      [projection.name],
    );
    return new Map(rows.map(({ value, rows: count }) => [value, Number(count)]));
  }

  /** Number of rows and a digest over all of them, positions included; equal digests mean equal read models. */
  async checksum(projection: Projection): Promise<string> {
    return this.digest(`select ${columnList(projection)} from ${view(projection)}`, projection, []);
  }

  /** The same digest for rows that were folded in memory. */
  async checksumOf(projection: Projection, rows: readonly FoldedRow[]): Promise<string> {
    const columns = [...Object.keys(projection.columns), 'position'];
    return this.digest(recordset(projection, columns), projection, valuesOf(projection, columns, rows.map(toRecord)));
  }

  private async digest(source: string, projection: Projection, parameters: readonly string[]): Promise<string> {
    const rows: { digest: string }[] = await this.dataSource.query(
      `select count(*) || ':' || md5(coalesce(string_agg(md5(to_jsonb(r)::text), '' order by r.${quoted(projection.key)}::text collate "C"), '')) as digest
         from (${source}) r`,
      [...parameters],
    );
    return rows[0]?.digest ?? '';
  }

  private async moveCheckpoint(
    runner: QueryRunner,
    projection: Projection,
    generation: number,
    from: Position | null,
    to: Position,
    last?: RecordedEvent,
  ): Promise<void> {
    const moved = await select<{ generation: number }>(
      runner,
      `with moved as (
         update ${SCHEMA}.projection_checkpoints
            set position = $4, halted_position = null, halted_event_id = null, halted_error = null, witness = coalesce($5, witness), updated_at = now()
          where projection = $1 and generation = $2 and position is not distinct from $3
         returning generation)
       select generation from moved`,
      [projection.name, generation, from, to, last === undefined ? null : JSON.stringify(witnessOf(last))],
    );
    if (moved.length === 0) throw new LostCheckpointRaceError(projection.name, generation, from);
  }

  private async loadTouched(
    runner: QueryRunner,
    projection: Projection,
    generation: number,
    events: readonly RecordedEvent[],
    recent?: RecentRows,
  ): Promise<readonly FoldedRow[]> {
    const keys = new Set<string>();
    const references = new Set<string>();
    for (const event of events) {
      let touched: ReturnType<Projection['keys']>;
      try {
        touched = projection.keys(event);
      } catch (error) {
        throw new UnprojectableError(`projection ${projection.name} cannot determine the rows of ${event.type} of ${event.stream}: ${messageOf(error)}`, {
          cause: error,
        });
      }
      for (const key of touched) {
        if (typeof key === 'string') keys.add(key);
        else references.add(key.reference);
      }
    }
    try {
      const unread = [...keys].filter((key) => recent?.get(key) === undefined);
      const byKey = [...(recent?.all() ?? []), ...(await this.loadRows(runner, projection, generation, unread))];
      const known = new Set(byKey.flatMap(({ row }) => referencesOf(projection, row)));
      const byReference = await this.loadReferring(
        runner,
        projection,
        generation,
        [...references].filter((reference) => !known.has(reference)),
      );
      const rows = new Map([...byKey, ...byReference].map((folded) => [keyOf(projection, folded.row), folded]));
      return [...rows.values()];
    } catch (error) {
      if (!isRefusedData(error)) throw error;
      throw new UnprojectableError(`projection ${projection.name} cannot find its rows: ${messageOf(error)}`, { cause: error });
    }
  }

  private async loadRows(runner: QueryRunner, projection: Projection, generation: number, keys: readonly string[]): Promise<readonly FoldedRow[]> {
    if (keys.length === 0) return [];
    const rows = await select<StoredRow>(
      runner,
      `select to_jsonb(t) as row from ${table(projection, generation)} t where ${quoted(projection.key)} = any($1::${projection.columns[projection.key]?.type ?? 'text'}[])`,
      [keys],
    );
    return rows.map(({ row }) => fromRecord(projection, row));
  }

  /** One index lookup per reference: for an overlap with many values the planner estimates a seventh of the table. */
  private async loadReferring(runner: QueryRunner, projection: Projection, generation: number, references: readonly string[]): Promise<readonly FoldedRow[]> {
    if (projection.references === undefined || references.length === 0) return [];
    const rows = await select<StoredRow>(
      runner,
      `select to_jsonb(found) as row from unnest($1::text[]) as reference cross join lateral (
         select * from ${table(projection, generation)} where ${quoted(projection.references)} @> array[reference] offset 0
       ) found`,
      [references],
    );
    return rows.map(({ row }) => fromRecord(projection, row));
  }

  private async upsert(runner: QueryRunner, projection: Projection, generation: number, rows: readonly FoldedRow[]): Promise<void> {
    const stored = storedColumns(projection);
    const updates = stored.filter((column) => column !== projection.key).map((column) => `${quoted(column)} = excluded.${quoted(column)}`);
    await runner.query(
      `insert into ${table(projection, generation)} (${stored.map(quoted).join(', ')}) ${recordset(projection, stored)}
       on conflict (${quoted(projection.key)}) do update set ${updates.join(', ')}`,
      valuesOf(projection, stored, rows.map(toRecord)),
    );
  }

  private async insertPast(runner: QueryRunner, projection: Projection, generation: number, past: readonly PastVersion[]): Promise<void> {
    const columns = [...Object.keys(projection.columns), 'valid_from', 'valid_to', 'fork'];
    const records = past.map(({ row, since, until }) => ({ ...row, valid_from: since, valid_to: until, fork: forkOf(since, until) }));
    await runner.query(
      `insert into ${pastTable(projection, generation)} (${columns.map(quoted).join(', ')}) ${recordset(projection, columns)}`,
      valuesOf(projection, columns, records),
    );
  }

  private async moveTallies(
    runner: QueryRunner,
    projection: Projection,
    generation: number,
    changes: readonly { readonly value: string; readonly rows: number }[],
  ): Promise<void> {
    if (changes.length === 0) return;
    await runner.query(
      `insert into ${SCHEMA}.projection_tallies (projection, generation, value, rows)
       select $1, $2, changed.value, changed.rows from jsonb_to_recordset($3::jsonb) as changed(value text, rows bigint)
       on conflict (projection, generation, value) do update set rows = projection_tallies.rows + excluded.rows`,
      [projection.name, generation, JSON.stringify(changes)],
    );
  }

  private async delete(runner: QueryRunner, projection: Projection, generation: number, keys: readonly string[]): Promise<void> {
    await runner.query(
      `delete from ${table(projection, generation)} where ${quoted(projection.key)} = any($1::${projection.columns[projection.key]?.type ?? 'text'}[])`,
      [[...keys]],
    );
  }

  private async inTransaction<T>(work: (runner: QueryRunner) => Promise<T>): Promise<T> {
    const runner = this.dataSource.createQueryRunner();
    try {
      await runner.connect();
      await runner.startTransaction();
      const result = await work(runner);
      await runner.commitTransaction();
      return result;
    } catch (error) {
      // A lost connection cannot be rolled back and need not be: the first error is the one to report.
      if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => undefined);
      throw error;
    } finally {
      await runner.release();
    }
  }
}

/** The rows of a query within a transaction; the SQL determines their type. */
async function select<Row extends object>(runner: QueryRunner, sql: string, parameters: unknown[]): Promise<Row[]> {
  return (await runner.query(sql, parameters)) as Row[];
}

/** The types of `pg` omit it. */
function processIdOf(client: pg.Client & { readonly processID?: number }): number | null {
  return client.processID ?? null;
}

interface StoredRow {
  readonly row: StoredRecord;
}

/** `valid_from` is a column only if it can differ from the position. */
type StoredRecord = JsonObject & { readonly position: string; readonly valid_from?: string };

/** The row with the highest key for each prefix; of two with one key the later. */
function newestOf(projection: Projection, { prefixes }: FoldInOrder, rows: readonly JsonObject[]): readonly JsonObject[] {
  return prefixes.flatMap((prefix) => {
    const ofPrefix = rows.filter((row) => keyOf(projection, row).startsWith(prefix));
    return ofPrefix.length === 0 ? [] : [ofPrefix.reduce((newest, row) => (keyOf(projection, row) >= keyOf(projection, newest) ? row : newest))];
  });
}

function toRecord({ row, position, since }: FoldedRow): JsonObject {
  return { ...row, position, valid_from: since };
}

function fromRecord(projection: Projection, record: StoredRecord): FoldedRow {
  const row: Record<string, JsonObject[string]> = {};
  for (const [column, { type }] of Object.entries(projection.columns)) {
    const value = record[column];
    // PostgreSQL writes +00:00 and drops trailing zeros; a fold must find the value it had written.
    row[column] = type === 'timestamptz' && typeof value === 'string' ? new Date(value).toISOString() : value;
  }
  return { row, position: record.position, since: record.valid_from ?? record.position };
}

/**
 * Selects the records of parameters that valuesOf has written, one for each column. A JSON array of rows would be parsed into jsonb as a whole: for the versions
 * of backups, rows of forty columns, that takes PostgreSQL several times as long.
 * @param columns of the table; those that the definition does not list are positions
 */
function recordset(projection: Projection, columns: readonly string[]): string {
  const values = columns.map((column, place) => {
    const type = projection.columns[column]?.type ?? 'text';
    return `c${place}${type === 'text' ? '' : `::${type}`} as ${quoted(column)}`;
  });
  const lists = columns.map((_, place) => `$${place + 1}::text[]`);
  return `select ${values.join(', ')} from unnest(${lists.join(', ')}) as r(${columns.map((_, place) => `c${place}`).join(', ')})`;
}

/** For each column the texts of its values, as PostgreSQL reads them. */
function valuesOf(projection: Projection, columns: readonly string[], records: readonly JsonObject[]): string[] {
  return columns.map((column) => {
    const type = projection.columns[column]?.type ?? 'text';
    return `{${records.map((record) => element(type, record[column] ?? null)).join(',')}}`;
  });
}

function element(type: ColumnType, value: JsonValue): string {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : 'NULL';
  if (type === 'text[]' && Array.isArray(value)) return quotedElement(arrayLiteral(value));
  return quotedElement(typeof value === 'string' && type !== 'jsonb' ? value : JSON.stringify(value));
}

function quotedElement(value: string): string {
  return `"${/[\\"]/.test(value) ? value.replaceAll(/[\\"]/g, '\\$&') : value}"`;
}

/** As PostgreSQL reads a value of text[]. */
function arrayLiteral(values: readonly JsonValue[]): string {
  return `{${values.map((value) => quotedElement(typeof value === 'string' ? value : JSON.stringify(value))).join(',')}}`;
}

function storedColumns(projection: ReadModelDefinition): readonly string[] {
  return [...Object.keys(projection.columns), 'position', ...(recordsSince(projection) ? ['valid_from'] : [])];
}

function columnList(projection: ReadModelDefinition): string {
  return [...Object.keys(projection.columns), 'position'].map(quoted).join(', ');
}

/** Named, so that an interrupted build continues with those that are missing. */
function indexesDdl(definition: ReadModelDefinition, generation: number): readonly string[] {
  const { name, indexes = [] } = definition;
  const ofRows = indexes.map(
    (index, number) => `create index if not exists ${quoted(`${name}_g${generation}_i${number}`)} on ${table(definition, generation)} ${index}`,
  );
  return [...ofRows, ...pastIndexesDdl(definition, generation)];
}

function pastIndexesDdl({ name, key }: ReadModelDefinition, generation: number): readonly string[] {
  return [`(${quoted(key)}, valid_to)`, '(fork, valid_to, valid_from)'].map(
    (index, number) => `create index if not exists ${quoted(`${name}_g${generation}_past_i${number}`)} on ${pastTable({ name }, generation)} ${index}`,
  );
}

function neutralLiteral(type: ColumnType): string {
  const value = neutralValue(type);
  if (type === 'text[]') return `'{}'`;
  return `'${typeof value === 'string' ? value : JSON.stringify(value)}'`;
}

function table(projection: ReadModelDefinition, generation: number): string {
  return `${SCHEMA}.${quoted(`${projection.name}_g${generation}`)}`;
}

/** Ended versions of the rows. It only grows. */
function pastTable({ name }: Pick<ReadModelDefinition, 'name'>, generation: number): string {
  return `${SCHEMA}.${quoted(`${name}_g${generation}_past`)}`;
}

function asOfView({ name }: ReadModelDefinition): string {
  return `${AS_OF_SCHEMA}.${quoted(name)}`;
}

function view(projection: ReadModelDefinition): string {
  return `${SCHEMA}.${quoted(projection.name)}`;
}

/** SQLSTATE classes 22 (data exception), 23 (integrity constraint) and 54 (program limit exceeded): a retry with the same rows would fail again. */
function isRefusedData(error: unknown): boolean {
  return /^(?:22|23|54)/.test(sqlState(error) ?? '');
}

/** The five-character error code of PostgreSQL, if the error came from the server. */
export function sqlState(error: unknown): string | undefined {
  const source: unknown = error instanceof QueryFailedError ? error.driverError : error;
  if (typeof source !== 'object' || source === null || !('code' in source)) return undefined;
  return typeof source.code === 'string' ? source.code : undefined;
}
