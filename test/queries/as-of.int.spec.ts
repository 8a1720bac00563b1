import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type pg from 'pg';
import request from 'supertest';
import { allProjections } from '../../projections/all-projections.js';
import { BackupQueriesModule } from '../../src/hub/backup/backups/backup-queries.module.js';
import { ListVmsController } from '../../src/hub/backup/vms/list-vms/list-vms.controller.js';
import { AuditModule } from '../../src/hub/history/audit/audit.module.js';
import { TimeTravelModule } from '../../src/hub/history/time-travel/time-travel.module.js';
import { ListNodesController } from '../../src/hub/nodes/nodes/list-nodes/list-nodes.controller.js';
import { ProjectionsAdminModule } from '../../src/hub/operations/projections-admin/projections-admin.module.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { beginAsOf } from '../../src/hub/store/postgres/as-of.js';
import { POSTGRES_POOL } from '../../src/hub/store/postgres/postgres.module.js';
import { FoldedRows, foldFromZero, keyOf, type Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { Projections } from '../../src/hub/store/postgres/projections.js';
import type { Column } from '../../src/hub/store/postgres/read-model-definition.js';
import type { JsonObject } from '../../src/kernel/json.js';
import { goldenHistory } from '../support/golden-streams.js';
import { API_TOKEN } from '../support/http-app.js';
import { type QueryApp, startQueryApp } from '../support/query-app.js';

const NOTHING = '0'.repeat(19);

/** The golden streams, interleaved in any order that keeps each stream's own. */
const anyHistory = fc.infiniteStream(fc.nat()).map((choices): readonly RecordedEvent[] => {
  const streams = new Map<string, RecordedEvent[]>();
  for (const event of goldenHistory()) streams.set(event.stream, [...(streams.get(event.stream) ?? []), event]);
  const events: RecordedEvent[] = [];
  while (streams.size > 0) {
    const names = [...streams.keys()];
    const chosen = names[(choices.next().value ?? 0) % names.length] ?? '';
    const [next, ...rest] = streams.get(chosen) ?? [];
    if (next !== undefined) events.push({ ...next, position: String(events.length + 1).padStart(19, '0') });
    if (rest.length === 0) streams.delete(chosen);
    else streams.set(chosen, rest);
  }
  return events;
});

function foldable(projection: Projection, events: readonly RecordedEvent[]): readonly RecordedEvent[] {
  return events.filter(({ stream }) => projection.categories?.some((category) => stream.startsWith(`${category}-`)) ?? true);
}

/** What of a row does not only show progress. */
function lasting(projection: Projection, row: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries<Column>(projection.columns).map(([name, { lasting: kept }]) => [name, kept === null ? row[name] : kept(row[name])]));
}

/** Events never change, and the ledger has the tree of every earlier size in it. */
function keepsItsPast({ name }: Projection): boolean {
  return name !== 'audit_events' && name !== 'ledger_tiles';
}

describe('versions of rows', () => {
  it.each(allProjections.filter(({ inOrder }) => inOrder === undefined).map((projection) => [projection.name, projection] as const))(
    'of %s are those of a fold up to each position',
    (_, projection) => {
      fc.assert(
        fc.property(anyHistory, (history) => {
          const events = foldable(projection, history);
          const whole = new FoldedRows(projection);
          for (const event of events) whole.apply(event);
          const versions = [...whole.changes().past, ...whole.all().map(({ row, since }) => ({ row, since, until: '~' }))];
          const upTo = new FoldedRows(projection);
          for (const event of events) {
            upTo.apply(event);
            const found = versions.filter(({ since, until }) => since <= event.position && event.position < until).map(({ row }) => lasting(projection, row));
            const byKey = (a: JsonObject, b: JsonObject): number => (keyOf(projection, a) < keyOf(projection, b) ? -1 : 1);
            const expected = upTo.all().map(({ row }) => lasting(projection, row));
            if (!isDeepStrictEqual(found.sort(byKey), expected.sort(byKey))) expect(found).toEqual(expected);
          }
        }),
        { numRuns: 3 },
      );
    },
  );
});

describe('queries as of an instant', () => {
  let running: QueryApp;
  let pool: pg.Pool;
  let history: readonly RecordedEvent[];
  let recorded: readonly RecordedEvent[];

  beforeAll(async () => {
    running = await startQueryApp({
      imports: [BackupQueriesModule, AuditModule, ProjectionsAdminModule, TimeTravelModule],
      controllers: [ListVmsController, ListNodesController],
    });
    pool = running.app.get<pg.Pool>(POSTGRES_POOL, { strict: false });
    [history = []] = fc.sample(anyHistory, 1);
    const stored: RecordedEvent[] = [];
    for (const event of history) {
      const { id, type, data, metadata } = event;
      const { position } = await running.store.append(event.stream, event.revision === 0 ? 'no_stream' : event.revision - 1, [{ id, type, data, metadata }]);
      stored.push({ ...event, position });
    }
    recorded = stored;
    await get(`projections?after=${stored.at(-1)?.position ?? ''}`);
  }, 120_000);

  afterAll(async () => {
    await running.close();
  });

  async function get(path: string, status = 200): Promise<request.Response> {
    const answer = await request(running.app.getHttpServer()).get(`/api/v1/${path}`).set('Authorization', `Bearer ${API_TOKEN}`);
    expect([answer.status, answer.status === status ? null : answer.body]).toEqual([status, null]);
    return answer;
  }

  /** The rows of a read model, as a fold would have them. */
  async function rowsAsOf(projection: Projection, position: string, where = 'true', values: readonly unknown[] = []): Promise<JsonObject[]> {
    const client = await pool.connect();
    try {
      await client.query(beginAsOf(position));
      const { rows } = await client.query<{ row: JsonObject }>(`select to_jsonb(r) as row from ${projection.name} r where ${where}`, [...values]);
      await client.query('commit');
      return rows.map(({ row }) =>
        Object.fromEntries(
          Object.entries<Column>(projection.columns).map(([name, { type }]) => {
            const value = row[name];
            return [name, type === 'timestamptz' && typeof value === 'string' ? new Date(value).toISOString() : value];
          }),
        ),
      );
    } finally {
      client.release();
    }
  }

  function expectedAt(projection: Projection, position: string): JsonObject[] {
    return foldFromZero(
      projection,
      foldable(
        projection,
        recorded.filter((event) => event.position <= position),
      ),
    ).map(({ row }) => lasting(projection, row));
  }

  it('equal a fold from zero at every position, whole and by any column', async () => {
    for (const projection of allProjections.filter(keepsItsPast)) {
      const byKey = (a: JsonObject, b: JsonObject): number => (keyOf(projection, a) < keyOf(projection, b) ? -1 : 1);
      const filterable = Object.entries<Column>(projection.columns).filter(
        ([, { type, lasting: kept }]) => kept === null && /^(text|integer|boolean)$/.test(type),
      );
      for (const [index, { position }] of foldable(projection, recorded).entries()) {
        const expected = expectedAt(projection, position).sort(byKey);
        const found = (await rowsAsOf(projection, position)).map((row) => lasting(projection, row)).sort(byKey);
        expect([projection.name, position, found]).toEqual([projection.name, position, expected]);
        const [column = projection.key] = filterable[index % filterable.length] ?? [];
        const value = expected[index % Math.max(1, expected.length)]?.[column] ?? null;
        const filtered = await rowsAsOf(projection, position, `"${column}" is not distinct from $1`, [value]);
        expect(filtered.map((row) => row[projection.key]).sort()).toEqual(
          expected
            .filter((row) => (row[column] ?? null) === value)
            .map((row) => row[projection.key])
            .sort(),
        );
      }
    }
  }, 120_000);

  it('answer for a position and for a time, and say which', async () => {
    const requested = recorded.find(({ type }) => type === 'BackupRequested');
    const id = requested?.stream.slice('backup-'.length) ?? '';
    const position = requested?.position ?? '';
    const answer = await get(`backups/${id}?as_of=${position}`);
    expect([answer.body.status, answer.body.position, answer.headers['as-of-position']]).toEqual(['pending', position, position]);
    const time = answer.headers['as-of-time'] ?? '';
    expect((await get(`backups/${id}?as_of=${time}`)).headers['as-of-time']).toBe(time);
    expect((await get(`backups/${id}`)).headers['as-of-time']).toBeUndefined();
    expect((await get(`vms?as_of=${NOTHING}`)).body.vms).toEqual([]);
    expect((await get('vms?as_of=2001-01-01T00:00:00Z')).body.vms).toEqual([]);
    await get(`backups/${id}?as_of=2001-01-01T00:00:00Z`, 404);
  });

  it('refuse what is malformed, in the future, or about the present only', async () => {
    for (const [as_of, rule] of [
      ['yesterday', 'instant_or_position'],
      ['2999-01-01T00:00:00Z', 'not_in_future'],
      ['9'.repeat(19), 'not_in_future'],
      ['0'.repeat(38), 'position'],
    ]) {
      expect((await get(`vms?as_of=${as_of}`, 400)).body.errors).toMatchObject([{ field: 'as_of', rule }]);
    }
    expect((await get(`projections?as_of=${NOTHING}`, 400)).body.errors).toMatchObject([{ field: 'as_of', rule: 'unknown_field' }]);
    const answer = await request(running.app.getHttpServer())
      .post(`/api/v1/projections/vms/rebuild?as_of=${NOTHING}`)
      .set('Authorization', `Bearer ${API_TOKEN}`);
    expect([answer.status, answer.body.errors]).toMatchObject([400, [{ field: 'as_of', rule: 'unknown_field' }]]);
  });

  it('keep the instant of a page in its cursor', async () => {
    const last = recorded.at(-10)?.position ?? '';
    const first = await get(`audit/events?limit=2&order=oldest_first&as_of=${last}`);
    const second = await get(`audit/events?limit=1000&order=oldest_first&cursor=${first.body.next_cursor}`);
    expect(second.headers['as-of-position']).toBe(last);
    expect([...first.body.events, ...second.body.events].map(({ position }: { position: string }) => position)).toEqual(
      recorded.map(({ position }) => position).filter((position) => position <= last),
    );
    expect((await get(`audit/events?cursor=${first.body.next_cursor}&as_of=${NOTHING}`, 400)).body.code).toBe('cursor_invalid');
    const lines = await request(running.app.getHttpServer())
      .get(`/api/v1/audit/events?as_of=${last}`)
      .set('Authorization', `Bearer ${API_TOKEN}`)
      .set('Accept', 'application/x-ndjson')
      .buffer(true)
      .parse((response, done) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => done(null, text));
      });
    expect(String(lines.body).trim().split('\n')).toHaveLength(recorded.filter(({ position }) => position <= last).length);
  });

  it('show what has changed between two instants, and the events that did it', async () => {
    const [from = '', to = ''] = [recorded[Math.floor(recorded.length / 3)]?.position, recorded[Math.floor((2 * recorded.length) / 3)]?.position];
    const { changes } = (await get(`history/diff?from=${from}&to=${to}`)).body;
    type Change = { kind: string; id: string; change: string; events: { position: string }[] };
    for (const projection of allProjections.filter(keepsItsPast)) {
      const before = new Map(expectedAt(projection, from).map((row) => [keyOf(projection, row), row]));
      const after = new Map(expectedAt(projection, to).map((row) => [keyOf(projection, row), row]));
      const expected = [...new Set([...before.keys(), ...after.keys()])]
        .filter((key) => !isDeepStrictEqual(before.get(key), after.get(key)))
        .map((key) => `${key} ${before.has(key) ? (after.has(key) ? 'changed' : 'removed') : 'added'}`);
      const found = (changes as Change[]).filter(({ kind }) => kind === projection.name);
      expect([projection.name, ...found.map(({ id, change }) => `${id} ${change}`).sort()]).toEqual([projection.name, ...expected.sort()]);
      for (const { events } of found) expect(events.length > 0 && events.every(({ position }) => position > from && position <= to)).toBe(true);
    }
    expect((await get(`history/diff?from=${to}&to=${from}`, 400)).body.errors).toMatchObject([{ field: 'to', rule: 'not_before_from' }]);
  });

  it('explain the state of one thing by its commands', async () => {
    const own = recorded.filter(({ stream }) => stream.startsWith('backup-') && stream === recorded.find(({ type }) => type === 'BackupCompleted')?.stream);
    const id = own[0]?.stream.slice('backup-'.length) ?? '';
    const { state, causes } = (await get(`history/explain?backup=${id}&as_of=${own[2]?.position ?? ''}`)).body;
    expect([state.backup_id, causes.flatMap(({ events }: { events: { type: string }[] }) => events.map(({ type }) => type))]).toEqual([
      id,
      own.slice(0, 3).map(({ type }) => type),
    ]);
    expect(causes[0]).toMatchObject({ actor: own[0]?.metadata.actor, command_id: own[0]?.metadata.$causationId, triggered_by: null });
    expect((await get(`history/explain?backup=${recorded[0]?.id ?? ''}`, 404)).body.code).toBe('thing_not_found');
    await get('history/explain', 400);
  });

  it('end the events of a stream at the instant', async () => {
    const all = (await get(`audit/streams/${recorded[0]?.stream ?? ''}`)).body.events;
    const until = (await get(`audit/streams/${recorded[0]?.stream ?? ''}?as_of=${recorded[0]?.position ?? ''}`)).body.events;
    expect([until.length, until]).toEqual([1, all.slice(0, 1)]);
  });

  it('are the same during and after a rebuild, without an error', async () => {
    const middle = recorded[Math.floor(recorded.length / 2)]?.position ?? '';
    const before = (await get(`backups?as_of=${middle}`)).body;
    const projections = running.app.get(Projections, { strict: false });
    const rebuild = (await projections.rebuild('backups')).done;
    let done = false;
    const finished = rebuild.finally(() => (done = true));
    do expect((await get(`backups?as_of=${middle}`)).body).toEqual(before);
    while (!done);
    await finished;
    expect((await get(`backups?as_of=${middle}`)).body).toEqual(before);
  });
});
