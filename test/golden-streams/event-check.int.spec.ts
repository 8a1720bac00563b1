import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { allProjections } from '../../projections/all-projections.js';
import type { JsonObject, JsonValue } from '../../src/kernel/json.js';
import { categoryOf, type RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { eventCheckOf, rowProblem } from '../../src/hub/store/postgres/event-check.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { goldenHistory } from '../support/golden-streams.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const check = eventCheckOf(allProjections);
const history = goldenHistory();

/** What a defect, or a request that nobody checked, could leave in a member. */
const HOSTILE: readonly JsonValue[] = [null, '', '2026-W48-1', '2026-02-30T00:00:00Z', 'x', -1, 0.5, 1e300, true, [], {}, [null], { a: null }];

/** The event with each of its members, and each member of its objects and lists, replaced by each of the values. */
function mutations(event: RecordedEvent): RecordedEvent[] {
  const replaced = (value: JsonValue | undefined, depth: number): JsonValue[] => {
    if (depth > 2 || typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([member, inner]: [string, JsonValue | undefined]) =>
      [...HOSTILE, ...replaced(inner, depth + 1)].map((hostile) => with_(value, member, hostile)),
    );
  };
  return replaced(event.data, 0).map((data) => ({ ...event, data: data as JsonObject })); // an object stays one when a member is replaced
}

function with_(holder: JsonObject | readonly JsonValue[], member: string, value: JsonValue): JsonValue {
  if (isList(holder)) return holder.map((one, index) => (String(index) === member ? value : one));
  return { ...holder, [member]: value };
}

function isList(value: JsonObject | readonly JsonValue[]): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/** What is wrong with the rows that a history gives where it ends with this event in place of its last; null: nothing. */
function foldProblem(before: readonly RecordedEvent[], event: RecordedEvent): string | null {
  for (const projection of allProjections) {
    const seen = [...before, event].filter(({ stream }) => projection.categories?.includes(categoryOf(stream)) ?? true);
    if (!seen.includes(event)) continue;
    try {
      for (const { row } of foldFromZero(projection, seen)) {
        const problem = rowProblem(projection, row);
        if (problem !== null) return `${projection.name}: ${problem}`;
      }
    } catch (error) {
      return `${projection.name}: ${String(error)}`;
    }
  }
  return null;
}

describe('the check of events before they are stored', () => {
  it.each(history.map((event) => [`${event.type} of ${event.stream} at ${event.revision}`, event] as const))('lets %s pass', (_, event) => {
    expect(check(event.stream, event)).toBeNull();
  });

  it('lets nothing pass that a projection could not fold or store', () => {
    const types = new Map(history.map((event, index) => [event.type, index]));
    const slipped: string[] = [];
    let tried = 0;
    let refused = 0;
    for (const [type, index] of types) {
      const event = history[index];
      if (event === undefined) continue;
      const own = history.slice(0, index).filter(({ stream, type: earlier }) => stream === event.stream || earlier === 'BackupRequested');
      for (const mutated of mutations(event)) {
        tried += 1;
        if (check(mutated.stream, mutated) !== null) refused += 1;
        else if (foldProblem(own, mutated) !== null) slipped.push(`${type} ${JSON.stringify(mutated.data).slice(0, 300)}: ${foldProblem(own, mutated) ?? ''}`);
      }
    }
    expect(slipped).toEqual([]);
    expect(tried).toBeGreaterThan(5_000);
    expect(refused).toBeGreaterThan(500);
  });

  it('names projection, column and value', () => {
    const requested = history.find(({ type }) => type === 'BackupRequested');
    if (requested === undefined) throw new Error('no golden stream has BackupRequested');
    expect(check(requested.stream, { ...requested, data: { ...requested.data, requested_at: '2026-325' } })).toBe(
      'projection backups: column created_at takes timestamptz, not "2026-325"',
    );
    expect(check(requested.stream, { ...requested, type: 'BackupRenamed' })).toMatch(/^projection backups: it cannot be folded: .*BackupRenamed/);
  });
});

describe('the columns that the check goes by', () => {
  let database: TestDatabase;
  let pool: pg.Pool;

  beforeAll(async () => {
    database = await createTestDatabase();
    pool = new pg.Pool({ connectionString: database.databaseUrl, max: 1 });
  });

  afterAll(async () => {
    await pool.end();
    await database.drop();
  });

  it.each(allProjections.map((projection) => [projection.name, projection] as const))('are those of the table of %s', async (name, projection) => {
    const { rows } = await pool.query<{ column_name: string; is_nullable: string; data_type: string }>(
      `select column_name, is_nullable, data_type from information_schema.columns where table_schema = 'read_models' and table_name = $1`,
      [`${name}_g1`],
    );
    const typeOf = (type: string): string => ({ 'text[]': 'ARRAY', timestamptz: 'timestamp with time zone' })[type] ?? type;
    const expected = Object.entries(projection.columns).map(([column, { type, isNullable }]) => [column, typeOf(type), isNullable ? 'YES' : 'NO']);
    const found = rows
      .filter(({ column_name }) => column_name !== 'position' && column_name !== 'valid_from')
      .map((row) => [row.column_name, row.data_type, row.is_nullable]);
    expect(found.sort()).toEqual(expected.sort());
  });
});
