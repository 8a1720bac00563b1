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
const TEMPLATE = 'migrated';
/** Advisory lock of the connection that makes the template. */
const TEMPLATE_LOCK = 1;

const silent = { log: () => undefined, warn: () => undefined };

/** The server that all specs of a run share: DATABASE_URL, or else one that the first who asks for it starts and the end of the run stops. */
export async function startTestPostgres(): Promise<{ readonly databaseUrl: string }> {
  const given = givenServer();
  if (given !== null) return { databaseUrl: given };
  const directory = process.env['SENDENSE_TEST_POSTGRES_DIRECTORY'];
  if (directory === undefined) throw new Error('SENDENSE_TEST_POSTGRES_DIRECTORY is not set: the global setup of jest.config.js did not run');
  const server = new LocalPostgres(join(directory, 'postgres'), silent, { fsync: false, maxConnections: SHARED_CONNECTIONS });
  return { databaseUrl: (await server.ensureStarted()).ownerUrl };
}

function givenServer(): string | null {
  return process.env['DATABASE_URL'] || null;
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
  const { copyOf, migrated = copyOf === undefined } = options;
  // A server that was given gets no template, which would outlive the build that made it.
  const hasTemplate = migrated && givenServer() === null;
  const template = hasTemplate ? await migratedTemplate(adminUrl) : copyOf === undefined ? null : new URL(copyOf).pathname.slice(1);
  await runSql(adminUrl, `create database ${name}${template === null ? '' : ` template ${template}`}`);
  const databaseUrl = urlOf(adminUrl, name);
  if (migrated && !hasTemplate) await migrate(databaseUrl);
  return { databaseUrl, drop: () => runSql(adminUrl, `drop database if exists ${name} with (force)`) };
}

/** A database with all migrations that nobody is connected to. The first who asks for it makes it; copying it is several times faster than migrating again. */
async function migratedTemplate(adminUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [TEMPLATE]);
    if (rowCount === 0) {
      const unfinished = `${TEMPLATE}_unfinished`;
      await client.query(`drop database if exists ${unfinished}`);
      await client.query(`create database ${unfinished}`);
      await migrate(urlOf(adminUrl, unfinished));
      await client.query(`alter database ${unfinished} rename to ${TEMPLATE}`);
    }
  } finally {
    await client.end();
  }
  return TEMPLATE;
}

function urlOf(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.toString();
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
