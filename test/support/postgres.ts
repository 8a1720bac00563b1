import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';

export interface TestDatabase {
  readonly databaseUrl: string;
  drop(): Promise<void>;
}

export interface OwnPostgres {
  readonly server: LocalPostgres;
  readonly directory: string;
  readonly databaseUrl: string;
  /** Stops the server and removes its data. */
  remove(): Promise<void>;
}

/** Several specs at a time, with several hubs each, and a hub has up to 24. */
const SHARED_CONNECTIONS = 400;

const silent = { log: () => undefined, warn: () => undefined };

/** The server that all specs of a run share: DATABASE_URL, or else one that the first who asks for it starts and the end of the run stops. */
export async function startTestPostgres(): Promise<{ readonly databaseUrl: string }> {
  const given = process.env['DATABASE_URL'];
  if (given !== undefined && given !== '') return { databaseUrl: given };
  const directory = process.env['SENDENSE_TEST_POSTGRES_DIRECTORY'];
  if (directory === undefined) throw new Error('SENDENSE_TEST_POSTGRES_DIRECTORY is not set: the global setup of jest.config.js did not run');
  const server = new LocalPostgres(join(directory, 'postgres'), silent, { fsync: false, maxConnections: SHARED_CONNECTIONS });
  return { databaseUrl: (await server.ensureStarted()).ownerUrl };
}

/** A server of the caller's own, for specs that stop or kill it. */
export async function startOwnPostgres(): Promise<OwnPostgres> {
  const directory = await mkdtemp(join(tmpdir(), 'sendense-own-postgres-'));
  const server = new LocalPostgres(join(directory, 'postgres'), silent, { fsync: false });
  const { ownerUrl: databaseUrl } = await server.ensureStarted();
  return {
    server,
    directory,
    databaseUrl,
    remove: async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A fresh database on the shared server; `migrated: false` leaves it empty, and `copyOf` is the URL of one that nobody is connected to. */
export async function createTestDatabase(options: { readonly migrated?: boolean; readonly copyOf?: string } = {}): Promise<TestDatabase> {
  const { databaseUrl: adminUrl } = await startTestPostgres();
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await runSql(adminUrl, `create database ${name}${options.copyOf === undefined ? '' : ` template ${new URL(options.copyOf).pathname.slice(1)}`}`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  const databaseUrl = url.toString();
  if (options.migrated ?? true) await migrate(databaseUrl);
  return { databaseUrl, drop: () => runSql(adminUrl, `drop database if exists ${name} with (force)`) };
}

/** Runs all migrations on a database, and creates its read models. */
export async function migrate(databaseUrl: string): Promise<void> {
  // Loaded on demand: most specs leave migrations to their hub, and an ORM takes each of them half a second to load.
  const { openDataSource } = await import('../../src/hub/store/postgres/postgres.module.js');
  const { allReadModels } = await import('../../projections/all-projections.js');
  const dataSource = await openDataSource(databaseUrl, allReadModels);
  await dataSource.destroy();
}

async function runSql(databaseUrl: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
