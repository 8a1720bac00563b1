import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type pg from 'pg';
import { DataSource } from 'typeorm';
import { CreateEventStore1795257000001 } from '../../migrations/0001-create-event-store.js';
import { CreateHubLease1795257000040 } from '../../migrations/0040-create-hub-lease.js';
import { allProjections, allReadModels } from '../../projections/all-projections.js';
import { BackupReadModel } from '../../projections/backups/backups.read-model.js';
import { Clock } from '../../src/lib/clock/clock.js';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { createPool, openDataSource } from '../../src/hub/store/postgres/postgres.module.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { ProjectionTables } from '../../src/hub/store/postgres/projection-tables.js';
import { Projections } from '../../src/hub/store/postgres/projections.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { goldenHistory } from '../support/golden-streams.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { appendGoldenHistory } from '../support/query-app.js';

const SCRIPT = readFileSync(join(import.meta.dirname, '..', 'support', 'earlier-read-models.sql'), 'utf8');
/** The read models that the version before had. */
const EARLIER = allProjections.filter(({ name }) => SCRIPT.includes(`create table read_models.${name}_g1 `));
const silent = { log: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };
const TIMEOUT_MS = 60_000;

Logger.overrideLogger(false);

/** A database as the version left it whose migrations created the read models. */
describe('a database of the version before', () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let store: PostgresEventStore;
  let dataSource: DataSource;
  let projections: Projections;
  let columns: readonly string[];
  let earlierOfBackups: readonly string[];

  async function columnsOfViews(): Promise<readonly string[]> {
    const { rows } = await pool.query<{ is: string }>(
      `select table_name || '.' || column_name || ' ' || data_type as is from information_schema.columns
        where table_schema = 'read_models' and table_name in (select viewname from pg_views where schemaname = 'read_models') order by 1`,
    );
    return rows.map((row) => row.is);
  }

  async function columnsOf(table: string): Promise<readonly string[]> {
    const { rows } = await pool.query<{ name: string }>(
      'select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped',
      [table],
    );
    return rows.map(({ name }) => name);
  }

  /** What the version before knew of the backups. */
  async function backups(): Promise<readonly object[]> {
    const rows = await dataSource.getRepository(BackupReadModel).find({ order: { backup_id: 'asc' } });
    return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([column]) => earlierOfBackups.includes(column))));
  }

  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    const earlier = new DataSource({
      type: 'postgres',
      url: database.databaseUrl,
      // The lease came later, but today's store appends through it.
      migrations: [CreateEventStore1795257000001, CreateHubLease1795257000040],
      migrationsTableName: 'sendense_migrations',
    });
    await earlier.initialize();
    await earlier.runMigrations();
    for (const statement of SCRIPT.split(/;\n/)) await earlier.query(statement);
    for (const [, name = '', timestamp] of SCRIPT.matchAll(/^-- (\w+?(\d{13}))$/gm)) {
      await earlier.query('insert into sendense_migrations (timestamp, name) values ($1, $2)', [timestamp, name]);
    }
    pool = createPool(database.databaseUrl, 4);
    columns = await columnsOfViews();
    earlierOfBackups = await columnsOf('read_models.backups_g1');
    store = new PostgresEventStore(pool, silent);
    const head = await appendGoldenHistory(store);
    for (const projection of EARLIER) {
      await earlier.query(`insert into read_models.projection_checkpoints (projection, generation, role, position) values ($1, 1, 'live', $2)`, [
        projection.name,
        head,
      ]);
      const events = goldenHistory().filter(({ stream }) => projection.categories?.some((category) => stream.startsWith(`${category}-`)) ?? true);
      const table = `read_models.${projection.name}_g1`;
      const names = (await columnsOf(table)).map((column) => `"${column}"`).join(', ');
      await earlier.query(`insert into ${table} (${names}) select ${names} from json_populate_recordset(null::${table}, $1)`, [
        JSON.stringify(foldFromZero(projection, events).map(({ row, position }) => ({ ...row, position }))),
      ]);
    }
    await earlier.destroy();
    dataSource = await openDataSource(database.databaseUrl, allReadModels);
  }, 60_000);

  afterAll(async () => {
    await projections.stop();
    await store.close();
    await pool.end();
    await dataSource.destroy();
    await database.drop();
  });

  it('is answered from at once, and rebuilt while its projections run', async () => {
    const before = await backups();
    expect(before.length).toBeGreaterThan(3);
    const rebuilt = async (): Promise<readonly string[]> =>
      (await projections.statuses())
        .filter(({ generation }) => generation === 2)
        .map(({ name }) => name)
        .sort();
    const readModels = new ReadModels(store);
    projections = new Projections(store, dataSource, readModels, new Clock(), allProjections, '6b7e4f0a-0000-4000-8000-000000000001');
    await projections.start();
    await readModels.current();
    for (const ends = Date.now() + TIMEOUT_MS; Date.now() < ends;) {
      if ((await rebuilt()).length === EARLIER.length) break;
      await pause(50);
    }
    expect(await rebuilt()).toEqual(EARLIER.map(({ name }) => name).sort());
    expect((await projections.statuses()).filter(({ state }) => state !== 'live')).toEqual([]);
    expect(await backups()).toEqual(before);
    const tables = new ProjectionTables(dataSource);
    for (const projection of allProjections.filter(({ categories }) => categories !== null)) {
      const events = goldenHistory().filter(({ stream }) => projection.categories?.some((category) => stream.startsWith(`${category}-`)));
      expect([projection.name, await projections.checksum(projection.name)]).toEqual([
        projection.name,
        await tables.checksumOf(projection, foldFromZero(projection, events)),
      ]);
    }
  }, 120_000);

  it('still has every column of that version, for a rollback to it', async () => {
    expect((await columnsOfViews()).filter((column) => columns.includes(column))).toEqual(columns);
  });
});
