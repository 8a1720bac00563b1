import { type DataSource, type QueryRunner, QueryFailedError } from 'typeorm';
import { messageOf } from '../../kernel/error-message.js';
import type { JsonObject } from '../../kernel/json.js';
import type { Position, RecordedEvent } from '../event-store/event-store.port.js';
import { type FoldedRow, FoldedRows, keyOf, type Projection } from './projection-definition.js';

const SCHEMA = 'read_models';
/** How long a switch waits for readers that are in mid-query; it is tried again after that. New readers queue behind it meanwhile. */
const SWITCH_LOCK_TIMEOUT_MS = 1_000;

export interface HaltedAt {
  readonly position: Position;
  readonly event_id: string;
  readonly error: string;
}

export interface Checkpoint {
  readonly generation: number;
  readonly role: 'live' | 'building';
  /** Null: not one event has been folded. */
  readonly position: Position | null;
  readonly halted: HaltedAt | null;
}

/** The checkpoint was not where this runner had left it: another one writes the same read model. Nothing was written. */
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

/** Events cannot be folded or their rows cannot be stored, and trying again will not help. */
export class UnprojectableError extends Error {
  override readonly name = 'UnprojectableError';
}

/** The SQL of read models: tables of a generation each, one view over the live one, and checkpoints. */
export class ProjectionTables {
  constructor(private readonly dataSource: DataSource) {}

  async checkpoints(projection: Projection): Promise<readonly Checkpoint[]> {
    const rows: {
      generation: number;
      role: 'live' | 'building';
      position: string | null;
      halted_position: string | null;
      halted_event_id: string | null;
      halted_error: string | null;
    }[] = await this.dataSource.query(
      `select generation, role, position, halted_position, halted_event_id, halted_error
         from ${SCHEMA}.projection_checkpoints where projection = $1 order by generation`,
      [projection.name],
    );
    return rows.map(({ generation, role, position, halted_position, halted_event_id, halted_error }) => ({
      generation,
      role,
      position,
      halted: halted_position === null ? null : { position: halted_position, event_id: halted_event_id ?? '', error: halted_error ?? '' },
    }));
  }

  /** The live checkpoint; made for the first generation, whose table a migration creates. */
  async liveCheckpoint(projection: Projection): Promise<Checkpoint> {
    await this.dataSource.query(
      `insert into ${SCHEMA}.projection_checkpoints (projection, generation, role) select $1, 1, 'live'
        where not exists (select from ${SCHEMA}.projection_checkpoints where projection = $1 and role = 'live') on conflict do nothing`,
      [projection.name],
    );
    const live = (await this.checkpoints(projection)).find(({ role }) => role === 'live');
    if (live === undefined) throw new Error(`projection ${projection.name} has no live generation`);
    return live;
  }

  /**
   * Folds a batch into the rows of one generation and moves its checkpoint from `from` to `to`, in one transaction. One that is `catchingUp` does not wait for the disk.
   * @throws LostCheckpointRaceError, UnprojectableError, or the driver's error where the database is away
   */
  async apply(
    projection: Projection,
    generation: number,
    events: readonly RecordedEvent[],
    from: Position | null,
    to: Position,
    { catchingUp = false }: { readonly catchingUp?: boolean } = {},
  ): Promise<void> {
    await this.inTransaction(async (runner) => {
      // Rows and checkpoint are lost together, so that nothing is missed; nobody relies on rows that are still behind.
      if (catchingUp) await runner.query('set local synchronous_commit = off');
      await this.moveCheckpoint(runner, projection, generation, from, to);
      if (events.length === 0) return;
      const rows = new FoldedRows(projection, await this.loadTouched(runner, projection, generation, events));
      for (const event of events) {
        try {
          rows.apply(event);
        } catch (error) {
          throw new UnprojectableError(`projection ${projection.name} cannot fold ${event.type} of ${event.stream}: ${messageOf(error)}`, { cause: error });
        }
      }
      const { written, deleted } = rows.changes();
      try {
        if (written.length > 0) await this.upsert(runner, projection, generation, written);
        if (deleted.length > 0) await this.delete(runner, projection, generation, deleted);
        await this.moveTallies(runner, projection, generation, rows.tallyChanges());
      } catch (error) {
        if (!isRefusedData(error)) throw error;
        throw new UnprojectableError(`projection ${projection.name} cannot store its rows: ${messageOf(error)}`, { cause: error });
      }
    });
  }

  async recordHalt(projection: Projection, generation: number, halt: HaltedAt): Promise<void> {
    await this.dataSource.query(
      `update ${SCHEMA}.projection_checkpoints set halted_position = $3, halted_event_id = $4, halted_error = $5, updated_at = now()
        where projection = $1 and generation = $2`,
      [projection.name, generation, halt.position, halt.event_id, halt.error],
    );
  }

  /** An empty generation beside the live one, shaped like it. */
  async createGeneration(projection: Projection): Promise<number> {
    return this.inTransaction(async (runner) => {
      const rows = await select<{ generation: number; role: string }>(
        runner,
        `select generation, role from ${SCHEMA}.projection_checkpoints where projection = $1 order by generation for update`,
        [projection.name],
      );
      const live = rows.find(({ role }) => role === 'live');
      if (live === undefined) throw new Error(`projection ${projection.name} has no live generation`);
      const generation = Math.max(...rows.map((row) => row.generation)) + 1;
      await runner.query(`create table ${table(projection, generation)} (like ${table(projection, live.generation)} including all)`);
      await runner.query(`insert into ${SCHEMA}.projection_checkpoints (projection, generation, role) values ($1, $2, 'building')`, [
        projection.name,
        generation,
      ]);
      return generation;
    });
  }

  /**
   * Makes a caught-up generation the live one and drops the old: one transaction, so that a reader sees either the one or the other.
   * @throws LostCheckpointRaceError when either generation is not where the caller believes it to be
   */
  async switchTo(projection: Projection, generation: number, from: Position | null, to: Position | null): Promise<void> {
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
      if (live.position !== null && (to === null || to < live.position)) throw new LostCheckpointRaceError(projection.name, live.generation, to);
      await runner.query(`create or replace view ${view(projection)} as select * from ${table(projection, generation)}`);
      await runner.query(`delete from ${SCHEMA}.projection_checkpoints where projection = $1 and generation = $2`, [projection.name, live.generation]);
      await runner.query(`delete from ${SCHEMA}.projection_tallies where projection = $1 and generation = $2`, [projection.name, live.generation]);
      await runner.query(
        `update ${SCHEMA}.projection_checkpoints set role = 'live', position = $3, updated_at = now() where projection = $1 and generation = $2`,
        [projection.name, generation, to],
      );
      await runner.query(`drop table ${table(projection, live.generation)}`);
    });
  }

  /** Removes what an interrupted rebuild has left: every generation but the live one. Returns the generations removed. */
  async dropLeftovers(projection: Projection): Promise<readonly number[]> {
    return this.inTransaction(async (runner) => {
      const live = await select<{ generation: number }>(
        runner,
        `select generation from ${SCHEMA}.projection_checkpoints where projection = $1 and role = 'live' for update`,
        [projection.name],
      );
      const tables = await select<{ tablename: string }>(runner, `select tablename from pg_tables where schemaname = $1 and tablename ~ $2`, [
        SCHEMA,
        `^${projection.name}_g[0-9]+$`,
      ]);
      const leftovers = tables
        .map(({ tablename }) => Number(tablename.slice(projection.name.length + 2)))
        .filter((generation) => live.every((row) => row.generation !== generation) && live.length > 0);
      for (const generation of leftovers) await runner.query(`drop table ${table(projection, generation)}`);
      await runner.query(`delete from ${SCHEMA}.projection_checkpoints where projection = $1 and role = 'building'`, [projection.name]);
      await runner.query(`delete from ${SCHEMA}.projection_tallies where projection = $1 and not generation = any($2::integer[])`, [
        projection.name,
        live.map(({ generation }) => generation),
      ]);
      return leftovers;
    });
  }

  /** Gives the planner the statistics of a generation that was just filled; readers would wait for autovacuum with plans for an empty table. */
  async analyze(projection: Projection, generation: number): Promise<void> {
    await this.dataSource.query(`analyze ${table(projection, generation)}`);
  }

  /** How many rows of the live generation have each value of the tallied column. */
  async tally(projection: Projection): Promise<ReadonlyMap<string, number>> {
    const rows: { value: string; rows: string }[] = await this.dataSource.query(
      `select value, rows from ${SCHEMA}.projection_tallies join ${SCHEMA}.projection_checkpoints using (projection, generation)
        where projection = $1 and role = 'live'`,
      [projection.name],
    );
    return new Map(rows.map(({ value, rows: count }) => [value, Number(count)]));
  }

  /** Number of rows and a digest over all of them, positions included; equal digests are equal read models. */
  async checksum(projection: Projection): Promise<string> {
    return this.digest(`select ${columnList(projection)} from ${view(projection)}`, projection, []);
  }

  /** The same digest, of rows that were folded in memory. */
  async checksumOf(projection: Projection, rows: readonly FoldedRow[]): Promise<string> {
    return this.digest(recordset(projection), projection, [JSON.stringify(rows.map(toRecord))]);
  }

  private async digest(source: string, projection: Projection, parameters: readonly string[]): Promise<string> {
    const rows: { digest: string }[] = await this.dataSource.query(
      `select count(*) || ':' || md5(coalesce(string_agg(md5(to_jsonb(r)::text), '' order by r.${quoted(projection.key)}::text collate "C"), '')) as digest
         from (${source}) r`,
      [...parameters],
    );
    return rows[0]?.digest ?? '';
  }

  private async moveCheckpoint(runner: QueryRunner, projection: Projection, generation: number, from: Position | null, to: Position): Promise<void> {
    const moved = await select<{ generation: number }>(
      runner,
      `with moved as (
         update ${SCHEMA}.projection_checkpoints
            set position = $4, halted_position = null, halted_event_id = null, halted_error = null, updated_at = now()
          where projection = $1 and generation = $2 and position is not distinct from $3
         returning generation)
       select generation from moved`,
      [projection.name, generation, from, to],
    );
    if (moved.length === 0) throw new LostCheckpointRaceError(projection.name, generation, from);
  }

  private async loadTouched(runner: QueryRunner, projection: Projection, generation: number, events: readonly RecordedEvent[]): Promise<readonly FoldedRow[]> {
    const keys = new Set<string>();
    const references = new Set<string>();
    for (const event of events) {
      let touched: ReturnType<Projection['keys']>;
      try {
        touched = projection.keys(event);
      } catch (error) {
        throw new UnprojectableError(`projection ${projection.name} cannot tell the rows of ${event.type} of ${event.stream}: ${messageOf(error)}`, {
          cause: error,
        });
      }
      for (const key of touched) {
        if (typeof key === 'string') keys.add(key);
        else references.add(key.reference);
      }
    }
    try {
      const byKey = await this.loadRows(runner, projection, generation, keys);
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

  private async loadRows(runner: QueryRunner, projection: Projection, generation: number, keys: ReadonlySet<string>): Promise<readonly FoldedRow[]> {
    if (keys.size === 0) return [];
    const rows = await select<StoredRow>(
      runner,
      `select to_jsonb(t) as row from ${table(projection, generation)} t where ${quoted(projection.key)} = any($1::${projection.columns[projection.key] ?? 'text'}[])`,
      [[...keys]],
    );
    return rows.map(({ row }) => fromRecord(projection, row));
  }

  /** One look into the index for each: of an overlap with many the planner expects a seventh of the table. */
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
    const updates = [...Object.keys(projection.columns), 'position']
      .filter((column) => column !== projection.key)
      .map((column) => `${quoted(column)} = excluded.${quoted(column)}`);
    await runner.query(
      `insert into ${table(projection, generation)} (${columnList(projection)}) ${recordset(projection)}
       on conflict (${quoted(projection.key)}) do update set ${updates.join(', ')}`,
      [JSON.stringify(rows.map(toRecord))],
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
      `delete from ${table(projection, generation)} where ${quoted(projection.key)} = any($1::${projection.columns[projection.key] ?? 'text'}[])`,
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
      // A connection that is gone cannot be rolled back, and needs not be: the first error is the one that tells.
      if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => undefined);
      throw error;
    } finally {
      await runner.release();
    }
  }
}

/** The rows of a query within a transaction; their type is what its SQL selects. */
async function select<Row extends object>(runner: QueryRunner, sql: string, parameters: unknown[]): Promise<Row[]> {
  return (await runner.query(sql, parameters)) as Row[];
}

interface StoredRow {
  readonly row: Record<string, JsonObject[string]> & { readonly position: string };
}

function referencesOf(projection: Projection, row: JsonObject): readonly string[] {
  const references = projection.references === undefined ? [] : row[projection.references];
  return Array.isArray(references) ? references.filter((reference) => typeof reference === 'string') : [];
}

function toRecord({ row, position }: FoldedRow): JsonObject {
  return { ...row, position };
}

function fromRecord(projection: Projection, record: JsonObject & { readonly position: string }): FoldedRow {
  const { position, ...row } = record;
  const normalised: Record<string, JsonObject[string]> = { ...row };
  for (const [column, type] of Object.entries(projection.columns)) {
    const value = row[column];
    // PostgreSQL writes +00:00 and drops trailing zeros; a fold must find what it had written.
    if (type === 'timestamptz' && typeof value === 'string') normalised[column] = new Date(value).toISOString();
  }
  return { row: normalised, position };
}

function recordset(projection: Projection): string {
  const types = Object.entries(projection.columns).map(([column, type]) => `${quoted(column)} ${type}`);
  return `select ${columnList(projection)} from jsonb_to_recordset($1::jsonb) as r(${types.join(', ')}, position text)`;
}

function columnList(projection: Projection): string {
  return [...Object.keys(projection.columns), 'position'].map(quoted).join(', ');
}

function table(projection: Projection, generation: number): string {
  return `${SCHEMA}.${quoted(`${projection.name}_g${generation}`)}`;
}

function view(projection: Projection): string {
  return `${SCHEMA}.${quoted(projection.name)}`;
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** SQLSTATE classes 22 (data exception), 23 (integrity constraint) and 54 (over a limit of PostgreSQL): the same rows will be refused again. */
function isRefusedData(error: unknown): boolean {
  return /^(?:22|23|54)/.test(sqlState(error) ?? '');
}

/** Five characters of PostgreSQL's error code, where the error came from the server. */
export function sqlState(error: unknown): string | undefined {
  const source: unknown = error instanceof QueryFailedError ? error.driverError : error;
  if (typeof source !== 'object' || source === null || !('code' in source)) return undefined;
  return typeof source.code === 'string' ? source.code : undefined;
}
