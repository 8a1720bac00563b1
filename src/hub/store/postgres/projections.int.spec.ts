import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type pg from 'pg';
import type { DataSource } from 'typeorm';
import type { JsonObject } from '../../../kernel/json.js';
import { auditEventsProjection } from '../../../../projections/audit-events/audit-events.projection.js';
import { ledgerTilesProjection } from '../../../../projections/ledger-tiles/ledger-tiles.projection.js';
import { seeded } from '../../../../test/support/seeded.js';
import { type OwnPostgres, createTestDatabase, startOwnPostgres, type TestDatabase } from '../../../../test/support/postgres.js';
import { Clock } from '../../../lib/clock/clock.js';
import type { Position } from '../../../kernel/position.js';
import type { EventToAppend, RecordedEvent } from '../event-store/event-store.port.js';
import { PostgresEventStore } from '../event-store/postgres-event-store.js';
import { createPool, openDataSource } from './postgres.module.js';
import { foldFromZero, type Projection, RecentRows } from './projection-definition.js';
import { LostCheckpointRaceError, ProjectionTables } from './projection-tables.js';
import { Projections } from './projections.js';
import { bigint, instant, json, type ReadModel, readModel, type RowOf, shapeOf, text, texts } from './read-model-definition.js';
import { ReadModels } from './read-models.js';

const COUNTER_COLUMNS = { name: text(), total: bigint(), tags: texts(), changed_at: instant(), facts: json<JsonObject>().nullable() };
const COUNTER_INDEXES = ['(total desc) where total > 1'];

function countersModel(name: string) {
  return readModel({ name, key: 'name', references: 'tags', columns: COUNTER_COLUMNS, indexes: COUNTER_INDEXES });
}

type CounterRow = RowOf<ReturnType<typeof countersModel>>;

/** Counts by name; `Tagged` adds a tag to a counter, `AddedByTag` finds it by a tag, `Poison` cannot be folded. */
function counters(name: string, poisoned: () => boolean = () => true): Projection<CounterRow> {
  return {
    ...countersModel(name).definition,
    categories: ['counter'],
    keys: ({ type, data }) => [type === 'AddedByTag' ? { reference: textOf(data['tag']) } : textOf(data['name'])],
    fold(row, event) {
      const before = row ?? { name: textOf(event.data['name']), total: 0, tags: [], changed_at: event.metadata.time, facts: null };
      const changed_at = event.metadata.time;
      switch (event.type) {
        case 'Added':
        case 'AddedByTag':
          return { ...before, total: before.total + Number(event.data['by']), changed_at, facts: { last: event.type } };
        case 'Tagged':
          return { ...before, tags: [...before.tags, textOf(event.data['tag'])], changed_at };
        case 'Removed':
          return null;
        case 'Unstorable':
          return { ...before, total: 0.5 };
        default:
          if (poisoned()) throw new Error(`counters know no ${event.type}`);
          return before;
      }
    },
  };
}

/** Every text in the events of this spec is a string. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function event(type: string, data: JsonObject): EventToAppend {
  return {
    id: randomUUID(),
    type,
    data,
    metadata: {
      $correlationId: randomUUID(),
      $causationId: randomUUID(),
      actor: 'system:spec',
      hub_id: randomUUID(),
      schema_version: 1,
      time: new Date().toISOString(),
    },
  };
}

const silent = { log: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };
const TIMEOUT_MS = 15_000;
const HUB = randomUUID();

Logger.overrideLogger(false);

describe('projections on PostgreSQL', () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let dataSource: DataSource;
  let store: PostgresEventStore;
  let tables: ProjectionTables;
  const started: Projections[] = [];

  beforeEach(async () => {
    database = await createTestDatabase();
    await open(database.databaseUrl);
  });

  afterEach(async () => {
    await openGate();
    for (const projections of started.splice(0)) await projections.stop();
    await store.close();
    await pool.end();
    await dataSource.destroy();
    await database.drop();
  });

  async function open(databaseUrl: string): Promise<void> {
    dataSource = await openDataSource(databaseUrl, [countersModel('counters'), countersModel('others')]);
    pool = createPool(databaseUrl, 4);
    store = new PostgresEventStore(pool, silent);
    tables = new ProjectionTables(dataSource);
  }

  async function start(...projections: readonly Projection[]): Promise<{ projections: Projections; readModels: ReadModels }> {
    const readModels = new ReadModels(store);
    const running = new Projections(store, dataSource, readModels, new Clock(), projections, HUB);
    started.push(running);
    await running.start();
    return { projections: running, readModels };
  }

  async function append(...events: readonly EventToAppend[]): Promise<Position> {
    return (await store.append(`counter-${randomUUID()}`, 'no_stream', events)).position;
  }

  async function rows(name = 'counters'): Promise<{ name: string; total: string; position: string }[]> {
    return dataSource.query(`select name, total, position from read_models.${name} order by name`);
  }

  async function history(): Promise<RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    const head = await store.head();
    if (head === null) return events;
    await new Promise<void>((resolve, reject) => {
      const subscription = store.subscribeToAll({
        after: null,
        categories: ['counter'],
        handle: (batch) => {
          events.push(...batch.events);
          if (batch.upTo >= head) {
            resolve();
            void subscription.close();
          }
          return Promise.resolve();
        },
      });
      subscription.ended.catch(reject);
    });
    return events;
  }

  const GATE = 2_700_027;

  let openGate: () => Promise<void> = () => Promise.resolve();

  /** From now on the creation of an index on gated(...), and nothing else, waits until the gate opens. */
  async function closeGate(): Promise<void> {
    await dataSource.query(`create function public.gated(value bigint) returns bigint language plpgsql immutable parallel unsafe as $$ begin
      if exists (select from pg_catalog.pg_stat_progress_create_index where pid = pg_backend_pid()) then perform pg_advisory_xact_lock_shared(${GATE}); end if;
      return value; end $$`);
    const holder = await pool.connect();
    await holder.query(`select pg_advisory_lock(${GATE})`);
    openGate = async () => {
      openGate = () => Promise.resolve();
      await holder.query(`select pg_advisory_unlock(${GATE})`);
      holder.release();
    };
  }

  async function indexIsBeingBuilt(): Promise<void> {
    for (const ends = Date.now() + TIMEOUT_MS; Date.now() < ends;) {
      const waiting: unknown[] = await dataSource.query(`select from pg_locks where locktype = 'advisory' and objid = ${GATE} and not granted`);
      if (waiting.length > 0) return;
    }
    throw new Error('no index is being built');
  }

  async function generationIsLive(projections: Projections, generation: number): Promise<void> {
    for (const ends = Date.now() + TIMEOUT_MS; Date.now() < ends;) {
      if ((await projections.statuses())[0]?.generation === generation) return;
      await pause(20);
    }
    throw new Error(`generation ${generation} is not live: ${JSON.stringify(await projections.statuses())}`);
  }

  it('keeps count of the rows per value of a column, through changes, deletions and a rebuild', async () => {
    const tallied: Projection = { ...counters('counters'), tallied: 'name' };
    await tables.prepare(tallied);
    const { projections, readModels } = await start(tallied);
    for (const name of ['a', 'b', 'c']) await append(event('Added', { name, by: 1 }), event('Added', { name, by: 1 }));
    await readModels.waitFor(await append(event('Removed', { name: 'b' })));
    const counted = [...(await projections.tally('counters'))].filter(([, rows]) => rows !== 0).sort();
    expect(counted).toEqual([
      ['a', 1],
      ['c', 1],
    ]);
    await (
      await projections.rebuild('counters')
    ).done;
    expect([...(await projections.tally('counters'))].filter(([, rows]) => rows !== 0).sort()).toEqual(counted);
    expect(await dataSource.query('select distinct generation from read_models.projection_tallies')).toEqual([{ generation: 2 }]);
    // The planner has statistics of the rebuilt generation before anyone reads it.
    expect(await dataSource.query(`select reltuples::integer as rows from pg_class where oid = 'read_models.counters_g2'::regclass`)).toEqual([{ rows: 2 }]);
  });

  it('folds history and live events in order, and records the position of each row', async () => {
    await append(event('Added', { name: 'a', by: 1 }), event('Added', { name: 'b', by: 10 }), event('Tagged', { name: 'b', tag: 't' }));
    const { readModels } = await start(counters('counters'));
    await append(event('Added', { name: 'c', by: 5 }), event('Removed', { name: 'c' }));
    const last = await append(event('AddedByTag', { tag: 't', by: 7 }), event('Added', { name: 'a', by: 1 }));
    await readModels.waitFor(last);
    const [a, b, ...rest] = await rows();
    expect(a).toEqual({ name: 'a', total: '2', position: last });
    expect(b?.total).toBe('17');
    expect(rest).toEqual([]);
  });

  it('finds a row by a reference that the same batch created', async () => {
    const last = await append(event('Added', { name: 'a', by: 1 }), event('Tagged', { name: 'a', tag: 'x' }), event('AddedByTag', { tag: 'x', by: 2 }));
    const { readModels } = await start(counters('counters'));
    await readModels.waitFor(last);
    expect((await rows()).map(({ total }) => total)).toEqual(['3']);
  });

  it('continues from its checkpoint after a restart and counts nothing twice', async () => {
    const first = await start(counters('counters'));
    await first.readModels.waitFor(await append(event('Added', { name: 'a', by: 1 })));
    await first.projections.stop();
    const missed = await append(event('Added', { name: 'a', by: 2 }));
    const second = await start(counters('counters'));
    await second.readModels.waitFor(missed);
    expect((await rows())[0]?.total).toBe('3');
  });

  it('reports an unknown name', async () => {
    const { readModels } = await start(counters('counters'));
    await expect(readModels.waitFor('0000000000000000001', 'nothing')).rejects.toMatchObject({ code: 'projection_not_found' });
  });

  it('refuses to move a checkpoint that another runner moved', async () => {
    const projection = counters('counters');
    await append(event('Added', { name: 'a', by: 1 }));
    const events = await history();
    const to = events[0]?.position ?? '';
    await tables.apply(projection, 1, events, null, to);
    await expect(tables.apply(projection, 1, events, null, to)).rejects.toBeInstanceOf(LostCheckpointRaceError);
    expect((await rows())[0]?.total).toBe('1');
  });

  it.each([
    ['cannot be folded', 'Poison', 'counters know no Poison'],
    ['produces a row that PostgreSQL refuses', 'Unstorable', 'cannot store its rows'],
  ])('halts only one projection at an event that %s, and keeps everything before it', async (_title, type, message) => {
    const { projections, readModels } = await start(counters('counters'), {
      ...counters('others', () => false),
      keys: ({ data }) => (data['bad'] === true ? [] : [textOf(data['name'])]),
    });
    await append(event('Added', { name: 'a', by: 1 }));
    const poison = event(type, { name: 'a', bad: true });
    const last = await append(event('Added', { name: 'a', by: 2 }), poison, event('Added', { name: 'a', by: 4 }));
    await readModels.waitFor(last);
    expect((await rows('others'))[0]?.total).toBe('7');
    await expect(readModels.waitFor(last, 'counters')).rejects.toMatchObject({ code: 'projection_halted' });
    expect((await rows())[0]?.total).toBe('3');
    const status = (await projections.statuses()).find(({ name }) => name === 'counters');
    expect(status).toMatchObject({ state: 'halted', halted: { event_id: poison.id, error: expect.stringContaining(message) } });
    expect(projections.halted().map(({ name }) => name)).toEqual(['counters']);
    await projections.stop();
    expect((await tables.checkpoints(counters('counters')))[0]?.halted).toMatchObject({ event_id: poison.id });
  });

  it('tries a poison event again after a restart, when a new program may know it', async () => {
    const first = await start(counters('counters'));
    const last = await append(event('Added', { name: 'a', by: 1 }), event('Poison', { name: 'a' }), event('Added', { name: 'a', by: 2 }));
    await expect(first.readModels.waitFor(last, 'counters')).rejects.toMatchObject({ code: 'projection_halted' });
    await first.projections.stop();
    const second = await start(counters('counters', () => false));
    await second.readModels.waitFor(last, 'counters');
    expect((await rows())[0]?.total).toBe('3');
    expect((await tables.checkpoints(counters('counters')))[0]?.halted).toBeNull();
  });

  describe('an event skipped by an operator', () => {
    const operator = { commandId: randomUUID(), correlationId: randomUUID(), actor: 'api:operator' };
    const haltedAt = async (projections: Projections): Promise<string> => (await projections.statuses())[0]?.halted?.position ?? '';

    it('lets the projection continue after it, also after a restart and in a rebuild', async () => {
      const first = await start(counters('counters'));
      const poison = event('Poison', { name: 'a' });
      const last = await append(event('Added', { name: 'a', by: 1 }), poison, event('Added', { name: 'a', by: 2 }));
      await expect(first.readModels.waitFor(last, 'counters')).rejects.toMatchObject({ code: 'projection_halted' });
      const position = await haltedAt(first.projections);

      await first.projections.skip('counters', position, 'nobody misses it', operator);
      await first.readModels.waitFor(last, 'counters');
      expect((await rows())[0]?.total).toBe('3');
      expect(first.projections.halted()).toEqual([]);
      expect((await first.projections.statuses())[0]).toMatchObject({
        state: 'live',
        halted: null,
        skipped: [{ position, event_id: poison.id, event_type: 'Poison', reason: 'nobody misses it', skipped_by: 'api:operator' }],
      });
      expect((await tables.checkpoints(counters('counters')))[0]?.halted).toBeNull();

      await (
        await first.projections.rebuild('counters')
      ).done;
      expect((await rows())[0]?.total).toBe('3');
      await first.projections.stop();
      const second = await start(counters('counters'));
      await second.readModels.waitFor(await append(event('Added', { name: 'a', by: 4 })), 'counters');
      expect((await rows())[0]?.total).toBe('7');
      expect((await second.projections.statuses())[0]?.skipped).toHaveLength(1);
    });

    it('also skips later events of its stream that depend on it, and nothing of other streams', async () => {
      const strict: Projection<CounterRow> = {
        ...counters('counters'),
        fold(row, recorded, key) {
          if (row === undefined && recorded.type !== 'Tagged') throw new Error(`${key} is not there`);
          return counters('counters').fold(row, recorded, key);
        },
      };
      const { projections, readModels } = await start(strict);
      const last = await append(event('Added', { name: 'a', by: 1 }), event('Added', { name: 'a', by: 2 }), event('Tagged', { name: 'b', tag: 'x' }));
      await expect(readModels.waitFor(last, 'counters')).rejects.toMatchObject({ code: 'projection_halted' });
      await projections.skip('counters', await haltedAt(projections), 'lost', operator);
      await readModels.waitFor(last, 'counters');
      expect(await rows()).toMatchObject([{ name: 'b' }]);
      const other = await append(event('Added', { name: 'c', by: 1 }));
      await expect(readModels.waitFor(other, 'counters')).rejects.toMatchObject({ code: 'projection_halted' });
    });

    it('is recorded once, and only at the position where the projection halted', async () => {
      const { projections, readModels } = await start(counters('counters'));
      const fine = await append(event('Added', { name: 'a', by: 1 }));
      await readModels.waitFor(fine, 'counters');
      await expect(projections.skip('counters', fine, 'why not', operator)).rejects.toMatchObject({ kind: 'conflict', code: 'projection_not_halted_there' });
      const last = await append(event('Poison', { name: 'a' }));
      await expect(readModels.waitFor(last, 'counters')).rejects.toMatchObject({ code: 'projection_halted' });
      await expect(projections.skip('counters', fine, 'why not', operator)).rejects.toMatchObject({ facts: { halted_position: last } });
      expect(await projections.skip('counters', last, 'lost', operator)).not.toBeNull();
      expect(await projections.skip('counters', last, 'lost', operator)).toBeNull();
      const recorded: RecordedEvent[] = [];
      for await (const one of store.read('projection-counters')) recorded.push(one);
      expect(recorded.map(({ type, metadata }) => [type, metadata.actor])).toEqual([['ProjectionEventSkipped', 'api:operator']]);
      await expect(projections.skip('nothing', last, 'lost', operator)).rejects.toMatchObject({ code: 'projection_not_found' });
    });
  });

  it('loses and repeats nothing when its connection fails between rows and checkpoint', async () => {
    // The backend of the first write is terminated once, in the middle of its transaction.
    await dataSource.query('create sequence spec_writes');
    await dataSource.query(`create function die_once() returns trigger language plpgsql as
      $$ begin if nextval('spec_writes') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if; return null; end $$`);
    await dataSource.query('create trigger die_once after insert or update on read_models.counters_g1 for each statement execute function die_once()');
    const { readModels } = await start(counters('counters'));
    const last = await append(event('Added', { name: 'a', by: 1 }));
    await readModels.waitFor(last);
    expect((await rows())[0]).toMatchObject({ total: '1', position: last });
    const writes: { last_value: string }[] = await dataSource.query('select last_value from spec_writes');
    expect(Number(writes[0]?.last_value)).toBeGreaterThanOrEqual(2);
  });

  it('rebuilds next to the live rows under load, with no read error and the same rows as a fold from zero', async () => {
    const projection = counters('counters');
    const { projections, readModels } = await start(projection);
    for (let index = 0; index < 20; index += 1) {
      await append(...Array.from({ length: 50 }, (_, each) => event('Added', { name: `n${(index * 50 + each) % 97}`, by: each })));
    }
    await readModels.waitFor(await append(event('Added', { name: 'n3', by: 1 })));
    let loading = true;
    let last: Position = '';
    const writer = (async () => {
      while (loading) last = await append(event('Added', { name: `n${Math.floor(Math.random() * 97)}`, by: 1 }), event('Removed', { name: 'n3' }));
    })();
    let reads = 0;
    const readers = [0, 1].map(async () => {
      while (loading) {
        const [row]: { n: string }[] = await dataSource.query('select count(*) as n from read_models.counters');
        // n3 may or may not exist yet; a reader of a half-built generation would see fewer rows.
        expect(Number(row?.n)).toBeGreaterThanOrEqual(96);
        reads += 1;
      }
    });
    const first = await projections.rebuild('counters');
    await expect(projections.rebuild('counters')).rejects.toMatchObject({ code: 'rebuild_in_progress' });
    await first.done;
    const second = await projections.rebuild('counters');
    await second.done;
    loading = false;
    await Promise.all([writer, ...readers]);
    await readModels.waitFor(last);
    expect(reads).toBeGreaterThan(0);
    expect((await projections.statuses())[0]).toMatchObject({ generation: 3, state: 'live', rebuild: null, lastRebuildError: null });
    const live = await projections.checksum('counters');
    expect(live).toBe(await tables.checksumOf(projection, foldFromZero(projection, await history())));
    const kept: { tablename: string }[] = await dataSource.query(
      `select tablename from pg_tables where schemaname = 'read_models' and tablename like 'counters%' order by 1`,
    );
    expect(kept).toEqual([{ tablename: 'counters_g3' }, { tablename: 'counters_g3_past' }]);
  }, 60_000);

  describe('with secondary indexes', () => {
    async function shapes(generation: number): Promise<readonly string[]> {
      const indexes: { shape: string }[] = await dataSource.query(
        `select substring(indexdef from ' USING .*') as shape from pg_indexes where tablename = $1 order by 1`,
        [`counters_g${generation}`],
      );
      return indexes.map(({ shape }) => shape);
    }

    it('fills a new generation with only the indexes that its folds need, and builds the others before it becomes live', async () => {
      const projection = counters('counters');
      const { projections, readModels } = await start(projection);
      await readModels.waitFor(await append(event('Tagged', { name: 'a', tag: 'x' }), event('AddedByTag', { tag: 'x', by: 2 })));
      const left = await tables.createGeneration(projection);
      expect(await shapes(left)).toEqual([' USING btree (name)', ` USING gin (tags) WITH (fastupdate=off)`]);
      const rebuild = await projections.rebuild('counters');
      await rebuild.done;
      expect(await shapes(rebuild.generation)).toEqual([
        ' USING btree (name)',
        ' USING btree (total DESC) WHERE (total > 1)',
        ' USING gin (tags) WITH (fastupdate=off)',
      ]);
      expect(await projections.checksum('counters')).toBe(await tables.checksumOf(projection, foldFromZero(projection, await history())));
    });

    it('keeps updating the live rows while an index is built, and loses no event', async () => {
      await closeGate();
      const projection = { ...counters('counters'), indexes: [...COUNTER_INDEXES, '(gated(total))'] };
      const { projections, readModels } = await start(projection);
      await readModels.waitFor(await append(event('Added', { name: 'a', by: 1 })));
      await indexIsBeingBuilt();
      await readModels.waitFor(await append(event('Added', { name: 'a', by: 2 }), event('Added', { name: 'b', by: 3 })), 'counters');
      expect((await rows()).map(({ total }) => total)).toEqual(['3', '3']);
      await openGate();
      await generationIsLive(projections, 2);
      expect(await shapes(2)).toHaveLength(4);
      expect(await projections.checksum('counters')).toBe(await tables.checksumOf(projection, foldFromZero(projection, await history())));
    });

    it('stops in the middle of an index build, and drops the leftovers at the next start', async () => {
      await closeGate();
      const { projections, readModels } = await start({ ...counters('counters'), indexes: ['(gated(total))'] });
      await readModels.waitFor(await append(event('Added', { name: 'a', by: 1 })));
      await indexIsBeingBuilt();
      await projections.stop();
      const second = await start(counters('counters'));
      await second.readModels.waitFor(await append(event('Added', { name: 'a', by: 2 })), 'counters');
      expect((await rows())[0]?.total).toBe('3');
      expect(await shapes(2)).toEqual([]);
    });
  });

  describe('of a changed definition', () => {
    const doubled = readModel({
      name: 'counters',
      key: 'name',
      references: 'tags',
      // `facts` is gone, `total` has another type, and `changed_at` may be null.
      columns: { name: text(), total: text(), tags: texts(), changed_at: instant().nullable(), doubled: bigint() },
      indexes: ['(doubled)'],
    });
    const changed: Projection<RowOf<typeof doubled>> = {
      ...doubled.definition,
      categories: ['counter'],
      keys: (recorded) => counters('counters').keys(recorded),
      fold(row, { data }) {
        const by = Number(data['by'] ?? 0);
        return { name: textOf(data['name']), total: String(Number(row?.total ?? 0) + by), tags: [], changed_at: null, doubled: (row?.doubled ?? 0) + 2 * by };
      },
    };
    const read = async (): Promise<{ total: string; doubled: string }[]> =>
      dataSource.getRepository(doubled).find({ select: { total: true, doubled: true }, order: { name: 'asc' } });

    /** The program of the next version starts on the same database. */
    async function upgrade(readModels: readonly ReadModel[] = [doubled]): Promise<void> {
      await dataSource.destroy();
      dataSource = await openDataSource(database.databaseUrl, readModels);
      tables = new ProjectionTables(dataSource);
    }

    it('answers from the old rows until the new generation, with the new column, replaces them, without a migration', async () => {
      const before = await start(counters('counters'));
      await before.readModels.waitFor(await append(event('Added', { name: 'a', by: 1 }), event('Added', { name: 'b', by: 2 })));
      await before.projections.stop();
      await closeGate();
      await upgrade();
      const { projections, readModels } = await start({ ...changed, indexes: ['(gated(doubled))'] });
      await indexIsBeingBuilt();
      await readModels.waitFor(await append(event('Added', { name: 'b', by: 4 })), 'counters');
      // Nothing is known yet of the new column and of the one with a new type, except what the new event says.
      expect(await read()).toEqual([
        { total: '', doubled: '0' },
        { total: '4', doubled: '8' },
      ]);
      await openGate();
      await generationIsLive(projections, 2);
      expect(await read()).toEqual([
        { total: '1', doubled: '2' },
        { total: '6', doubled: '12' },
      ]);
      expect(await projections.checksum('counters')).toBe(await tables.checksumOf(changed, foldFromZero(changed, await history())));
      await projections.stop();
      const again = await start({ ...changed, indexes: ['(gated(doubled))'] });
      await again.readModels.waitFor(await append(event('Added', { name: 'b', by: 1 })), 'counters');
      await again.projections.stop();
      expect((await tables.checkpoints(changed)).map(({ generation }) => generation)).toEqual([2]);
    });

    it('is simply created again while nothing has been folded', async () => {
      await upgrade();
      expect((await tables.checkpoints(changed)).map(({ generation, shape }) => [generation, shape])).toEqual([[1, shapeOf(changed)]]);
      expect(await dataSource.query(`select column_name from information_schema.columns where table_name = 'counters_g1' and column_name = 'facts'`)).toEqual(
        [],
      );
    });

    it('comes back after a rollback to the version before, which builds its own rows again', async () => {
      const before = await start(counters('counters'));
      await before.readModels.waitFor(await append(event('Added', { name: 'a', by: 1 })));
      await before.projections.stop();
      await upgrade();
      const newer = await start(changed);
      await generationIsLive(newer.projections, 2);
      await newer.projections.stop();
      await upgrade([countersModel('counters')]);
      const older = await start(counters('counters'));
      const last = await append(event('Added', { name: 'a', by: 2 }));
      await older.readModels.waitFor(last, 'counters');
      await generationIsLive(older.projections, 3);
      expect(await rows()).toEqual([{ name: 'a', total: '3', position: last }]);
    });

    it('is noticed by its version, if the fold gives other rows in the same columns', async () => {
      const first = await start(counters('counters'));
      await first.readModels.waitFor(await append(event('Added', { name: 'a', by: 1 })));
      await first.projections.stop();
      const tenfold: Projection<CounterRow> = {
        ...counters('counters'),
        version: 2,
        fold(row, recorded, key) {
          const folded = counters('counters').fold(row, recorded, key);
          return folded === null ? null : { ...folded, total: folded.total * 10 };
        },
      };
      const second = await start(tenfold);
      await generationIsLive(second.projections, 2);
      expect((await rows())[0]?.total).toBe('10');
    });
  });

  it('folds the same rows in many small batches while it remembers the most recent rows', async () => {
    const projection = counters('counters');
    const random = seeded(27);
    const pick = (count: number): number => Math.floor(random() * count);
    for (let stream = 0; stream < 20; stream++) {
      const kinds = ['Added', 'Added', 'Tagged', 'AddedByTag', 'Removed'];
      const events = Array.from({ length: 15 }, (_, index) => {
        const name = `n${pick(12)}`;
        // A tag belongs to one counter.
        return event(kinds[pick(kinds.length)] ?? '', { name, tag: `${name}-${pick(3)}`, by: index });
      });
      await append(...events);
    }
    const recent = new RecentRows(projection, 5);
    const events = await history();
    let from: Position | null = null;
    for (let begin = 0; begin < events.length; begin += 7) {
      const batch = events.slice(begin, begin + 7);
      const to = batch.at(-1)?.position ?? '';
      await tables.apply(projection, 1, batch, from, to, { catchingUp: true, recent });
      expect([...recent.all()].length).toBeLessThanOrEqual(5);
      from = to;
    }
    expect(await tables.checksum(projection)).toBe(await tables.checksumOf(projection, foldFromZero(projection, events)));
  });

  it('folds the ledger onto the newest rows that it remembers, also after a batch that was not committed', async () => {
    for (let stream = 0; stream < 6; stream++) await append(...Array.from({ length: 100 }, (_, by) => event('Added', { name: 'a', by })));
    const recent = new RecentRows(ledgerTilesProjection, 5);
    const events = await history();
    let from: Position | null = null;
    for (let begin = 0, size = 1; begin < events.length; begin += size, size = (size * 7) % 101) {
      const batch = events.slice(begin, begin + size);
      const to = batch.at(-1)?.position ?? '';
      await expect(tables.apply(ledgerTilesProjection, 1, batch, 'elsewhere', to, { recent })).rejects.toBeInstanceOf(LostCheckpointRaceError);
      await tables.apply(ledgerTilesProjection, 1, batch.slice(0, 1), from, batch[0]?.position ?? '', { recent });
      await tables.apply(ledgerTilesProjection, 1, batch.slice(1), batch[0]?.position ?? '', to, { recent });
      from = to;
    }
    expect(events.length).toBeGreaterThan(2 * 256);
    expect(await tables.checksum(ledgerTilesProjection)).toBe(await tables.checksumOf(ledgerTilesProjection, foldFromZero(ledgerTilesProjection, events)));
  });

  it('remembers no row of an uncommitted batch', async () => {
    const projection = counters('counters');
    await append(event('Added', { name: 'a', by: 1 }), event('Added', { name: 'a', by: 2 }), event('Unstorable', { name: 'a' }));
    const [first, second, third] = (await history()).map((one) => ({ event: one, to: one.position }));
    if (first === undefined || second === undefined || third === undefined) throw new Error('three events were appended');
    const recent = new RecentRows(projection, 5);
    await tables.apply(projection, 1, [first.event], null, first.to, { catchingUp: true, recent });
    await expect(tables.apply(projection, 1, [second.event, third.event], first.to, third.to, { catchingUp: true, recent })).rejects.toThrow('cannot store');
    await tables.apply(projection, 1, [second.event], first.to, second.to, { catchingUp: true, recent });
    expect((await rows())[0]?.total).toBe('3');
  });

  describe('of a projection that copies events', () => {
    it('copies the same rows that it would fold', async () => {
      for (let index = 0; index < 20; index++) await append(event('Added', { name: `"ü'\\ ${index}`, by: index, list: [null, 1.5, { deep: true }] }));
      const events = await history();
      const to = await tables.copy(auditEventsProjection, 1, null, 15);
      expect(to).toBe(events[14]?.position);
      expect(await tables.copy(auditEventsProjection, 1, to, 6)).toBeNull();
      expect(await tables.copy(auditEventsProjection, 1, to, 5)).toBe(events[19]?.position);
      expect(await tables.checksum(auditEventsProjection)).toBe(await tables.checksumOf(auditEventsProjection, foldFromZero(auditEventsProjection, events)));
      await expect(tables.copy(auditEventsProjection, 1, null, 5)).rejects.toBeInstanceOf(LostCheckpointRaceError);
    });

    it('copies a long history and folds the rest, and halts at an event that cannot be copied', async () => {
      const many = (count: number): readonly EventToAppend[] => Array.from({ length: count }, (_, by) => event('Added', { name: 'a', by }));
      for (let index = 0; index < 4; index++) await append(...many(2_510));
      const { projections, readModels } = await start(auditEventsProjection);
      await readModels.current('audit_events');
      expect(await projections.checksum('audit_events')).toBe(
        await tables.checksumOf(auditEventsProjection, foldFromZero(auditEventsProjection, await history())),
      );
      await projections.stop();
      const { metadata, ...poison } = event('Added', {});
      const before = await append(event('Added', { name: 'last', by: 1 }));
      const stored = await append({ ...poison, metadata: { ...metadata, time: 'never' } });
      for (let index = 0; index < 4; index++) await append(...many(2_510));
      const second = await start(auditEventsProjection);
      await expect(second.readModels.waitFor(stored, 'audit_events')).rejects.toMatchObject({ code: 'projection_halted' });
      expect((await second.projections.statuses())[0]).toMatchObject({ state: 'halted', position: before, halted: { position: stored } });
    }, 60_000);
  });

  it('abandons a rebuild that meets a poison event, and keeps the live rows', async () => {
    let poisoned = false;
    const projection = counters('counters', () => poisoned);
    const { projections, readModels } = await start(projection);
    await readModels.waitFor(await append(event('Added', { name: 'a', by: 1 }), event('Poison', { name: 'a' })));
    poisoned = true;
    const rebuild = await projections.rebuild('counters');
    await expect(rebuild.done).rejects.toThrow('counters know no Poison');
    await readModels.waitFor(await append(event('Added', { name: 'a', by: 2 })), 'counters');
    expect((await rows())[0]?.total).toBe('3');
    expect((await projections.statuses())[0]).toMatchObject({ generation: 1, lastRebuildError: expect.stringContaining('Poison') });
    expect(await tables.checkpoints(projection)).toHaveLength(1);
  });

  it('drops the leftovers of an interrupted rebuild at its start, and continues from the live generation', async () => {
    const projection = counters('counters');
    await append(event('Added', { name: 'a', by: 1 }));
    const left = await tables.createGeneration(projection);
    const events = await history();
    await tables.apply(projection, left, events, null, events[0]?.position ?? '');
    const { readModels } = await start(projection);
    await readModels.waitFor(events[0]?.position ?? '');
    expect((await rows())[0]?.total).toBe('1');
    expect((await tables.checkpoints(projection)).map(({ generation }) => generation)).toEqual([1]);
    const leftover: unknown[] = await dataSource.query(`select from pg_tables where tablename = 'counters_g${left}'`);
    expect(leftover).toEqual([]);
  });
});

describe('projections on a server that becomes unavailable', () => {
  let own: OwnPostgres;

  beforeEach(async () => {
    own = await startOwnPostgres();
  }, 60_000);

  afterEach(async () => {
    await own.remove();
  });

  it('waits for PostgreSQL to come back and loses nothing', async () => {
    const dataSource = await openDataSource(own.databaseUrl, [countersModel('counters')]);
    const pool = createPool(own.databaseUrl, 4);
    const store = new PostgresEventStore(pool, silent);
    const readModels = new ReadModels(store);
    const projections = new Projections(store, dataSource, readModels, new Clock(), [counters('counters')], HUB);
    try {
      await projections.start();
      const before = await store.append('counter-1', 'no_stream', [event('Added', { name: 'a', by: 1 })]);
      await readModels.waitFor(before.position);
      await own.server.stop();
      await own.server.ensureStarted();
      const after = await store.append('counter-1', 0, [event('Added', { name: 'a', by: 2 })]);
      await readModels.waitFor(after.position);
      const rows: { total: string }[] = await dataSource.query('select total from read_models.counters');
      expect(rows).toEqual([{ total: '3' }]);
    } finally {
      await projections.stop();
      await store.close();
      await pool.end();
      await dataSource.destroy();
    }
  }, 60_000);
});
