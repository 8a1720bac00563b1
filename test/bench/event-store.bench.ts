import { randomUUID } from 'node:crypto';
import { existsSync, globSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import pg from 'pg';
import type { EventToAppend } from '../../src/hub/store/event-store/event-store.port.js';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { createPool } from '../../src/hub/store/postgres/postgres.module.js';
import { migrate } from '../support/postgres.js';

/**
 * Appends by 8 writers through the store, against `pgbench` (8 clients, prepared statements) inserting like rows into a like table of the same
 * server, without the store's order, checks and conflicts. Rounds of both are measured alternately; the table shows the medians.
 *
 * Run: node --import ./test/bench/typescript.mjs test/bench/event-store.bench.ts [seconds per measurement, default 4] [rounds, default 3]
 */
const WRITERS = 8;
const seconds = positive(process.argv[2], 4);
const rounds = positive(process.argv[3], 3);
const silent = { log: () => undefined, warn: () => undefined };

const directory = await mkdtemp(join(tmpdir(), 'sendense-bench-'));
const server = new LocalPostgres(join(directory, 'postgres'), silent);
try {
  const { ownerUrl: databaseUrl } = await server.ensureStarted();
  await migrate(databaseUrl);
  await makeLikeTable(databaseUrl);
  const pgbench = findPgbench();
  const pool = createPool(databaseUrl);
  const store = new PostgresEventStore(pool, silent);
  console.log(`machine: ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`);
  console.log(`${WRITERS} writers, fsync on, ${rounds} rounds of ${seconds} s each; appends per second, median\n`);
  if (pgbench === undefined) console.log('pgbench skipped: it is not installed (Debian package postgresql)\n');
  const table: Record<string, string | number>[] = [];
  for (const size of [1, 50]) {
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      ours.push(await appendsPerSecond(store, size));
      if (pgbench !== undefined) theirs.push(await insertsPerSecond(pgbench, databaseUrl, size));
    }
    const mine = median(ours);
    const like = theirs.length === 0 ? undefined : median(theirs);
    table.push({
      'events per append': size,
      'store: appends/s': Math.round(mine),
      'store: events/s': Math.round(mine * size),
      'pgbench: inserts/s': like === undefined ? 'skipped' : Math.round(like),
      'pgbench: rows/s': like === undefined ? 'skipped' : Math.round(like * size),
      'store / pgbench': like === undefined ? '-' : (mine / like).toFixed(2),
    });
  }
  console.table(table);
  await store.close();
  await pool.end();
} finally {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
}

async function appendsPerSecond(store: PostgresEventStore, size: number): Promise<number> {
  const start = performance.now();
  const ends = start + seconds * 1000;
  let appends = 0;
  const writer = async (): Promise<void> => {
    const stream = `bench-${randomUUID()}`;
    for (let revision = -1; performance.now() < ends; appends++) {
      const events = Array.from({ length: size }, () => likeEvent());
      ({ revision } = await store.append(stream, revision === -1 ? 'no_stream' : revision, events));
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  return (appends * 1000) / (performance.now() - start);
}

async function insertsPerSecond(pgbench: string, databaseUrl: string, size: number): Promise<number> {
  const url = new URL(databaseUrl);
  const script = join(directory, `insert-${size}.sql`);
  const rows = Array.from({ length: size }, () => {
    const { type, data, metadata } = likeEvent();
    return (
      `(nextval('bench.position'), 'bench-' || :client_id, nextval('bench.revision'), gen_random_uuid(), '${type}', 'bench', ` +
      `'${withoutVariables(data)}', '${withoutVariables(metadata)}', clock_timestamp())`
    );
  });
  await writeFile(
    script,
    `insert into bench.events (position, stream, revision, id, type, category, data, metadata, recorded_at) values ${rows.join(', ')};\n`,
  );
  const { stdout } = await execa(
    pgbench,
    [
      ...['--no-vacuum', '--protocol', 'prepared', '--client', String(WRITERS), '--jobs', '2', '--time', String(seconds)],
      ...['--file', script, '--host', url.hostname, '--port', url.port, '--username', url.username, url.pathname.slice(1)],
    ],
    { env: { PGPASSWORD: url.password }, cwd: directory },
  );
  const tps = /tps = ([\d.]+)/.exec(stdout)?.[1];
  if (tps === undefined) throw new Error(`pgbench gave no figure:\n${stdout}`);
  return Number(tps);
}

/** pgbench takes a colon before a letter or digit for a variable. */
function withoutVariables(value: object): string {
  return JSON.stringify(value).replaceAll(/:(?=\w)/g, ': ');
}

function likeEvent(): EventToAppend {
  return {
    id: randomUUID(),
    type: 'DiskTransferProgressed',
    data: { disk: 0, bytes_done: 1073741824, bytes_total: 2147483648, throughput_bps: 524288000 },
    metadata: {
      $correlationId: randomUUID(),
      $causationId: randomUUID(),
      actor: 'system:run-backup',
      hub_id: '11111111-2222-4333-8444-555555555555',
      schema_version: 1,
      time: new Date().toISOString(),
    },
  };
}

async function makeLikeTable(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('create schema bench');
  await client.query('create table bench.events (like event_store.events including all)');
  await client.query('create sequence bench.position');
  await client.query('create sequence bench.revision');
  await client.end();
}

function findPgbench(): string | undefined {
  return [...globSync('/usr/lib/postgresql/*/bin/pgbench').sort().reverse(), '/usr/bin/pgbench', '/usr/local/bin/pgbench'].find((path) => existsSync(path));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function positive(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new RangeError(`${JSON.stringify(text)} is not a whole number from 1`);
  return value;
}
