import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';
import { LocalPostgres } from './local-postgres.js';
import { inLongProof } from '../../../../test/support/long-proof.js';

jest.setTimeout(60_000);

const silent = { log: () => undefined, warn: () => undefined };

describe('the local PostgreSQL', () => {
  let directory: string;
  let server: LocalPostgres;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sendense-local-postgres-'));
    await chmod(directory, 0o711);
    server = new LocalPostgres(join(directory, 'hub', 'postgres'), silent);
  });

  afterEach(async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('is created, started, adopted, stopped and started again with the same data and address', async () => {
    const { ownerUrl: databaseUrl } = await server.ensureStarted();
    await query(databaseUrl, 'create table kept (word text)');
    await query(databaseUrl, `insert into kept values ('Grüße 日本')`);
    const pid = await postmaster(directory);

    const another = new LocalPostgres(join(directory, 'hub', 'postgres'), silent);
    expect(await another.ensureStarted()).toMatchObject({ ownerUrl: databaseUrl });
    expect(await postmaster(directory)).toBe(pid);

    await server.stop();
    await expect(query(databaseUrl, 'select 1')).rejects.toThrow();
    expect(await server.ensureStarted()).toMatchObject({ ownerUrl: databaseUrl });
    expect(await query(databaseUrl, 'select word from kept')).toEqual([{ word: 'Grüße 日本' }]);
    expect(await query(databaseUrl, 'show fsync')).toEqual([{ fsync: 'on' }]);
    expect(await query(databaseUrl, 'show server_encoding')).toEqual([{ server_encoding: 'UTF8' }]);
    expect(await query(databaseUrl, `select datcollate from pg_database where datname = 'sendense'`)).toEqual([{ datcollate: 'C' }]);
  });

  it('recovers by itself after a kill', async () => {
    const { ownerUrl: databaseUrl } = await server.ensureStarted();
    await query(databaseUrl, 'create table kept (n integer)');
    await query(databaseUrl, 'insert into kept values (1)');
    process.kill(await postmaster(directory), 'SIGKILL');
    const again = await server.ensureStarted();
    expect(await query(again.ownerUrl, 'select n from kept')).toEqual([{ n: 1 }]);
  });

  inLongProof(() => {
    it('is restarted by keepRunning until the signal is aborted', async () => {
      const { ownerUrl: databaseUrl } = await server.ensureStarted();
      const letGo = new AbortController();
      const watch = server.keepRunning(letGo.signal);
      const first = await postmaster(directory);
      process.kill(first, 'SIGKILL');
      while ((await postmaster(directory).catch(() => first)) === first) await new Promise((resolve) => setTimeout(resolve, 50));
      for (;;) {
        const answer = await query(databaseUrl, 'select 1 as one').catch(() => null);
        if (answer !== null) break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      letGo.abort();
      await watch;
    });
  });

  it('leaves directories of other programs unchanged, and says what to do', async () => {
    if (process.getuid?.() !== 0) return;
    await chmod(directory, 0o700);
    await expect(server.ensureStarted()).rejects.toThrow(`chmod o+x ${directory}`);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  inLongProof(() => {
    it('is started once when two programs start it at the same time', async () => {
      const another = new LocalPostgres(join(directory, 'hub', 'postgres'), silent);
      const [one, two] = await Promise.all([server.ensureStarted(), another.ensureStarted()]);
      expect(one).toEqual(two);
    });
  });

  it('gives the hub a role that is not a superuser and cannot become one, also on a server of an earlier version', async () => {
    const { hubUrl, ownerUrl } = await server.ensureStarted();
    const connectionFile = join(directory, 'hub', 'postgres', 'connection.json');
    const { port, password } = JSON.parse(await readFile(connectionFile, 'utf8')) as { port: number; password: string };
    const facts = `select rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles where rolname = current_user`;
    const none = { rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolreplication: false, rolbypassrls: false };
    expect(await query(hubUrl, facts)).toEqual([{ rolname: 'sendense_hub', ...none }]);
    await expect(query(hubUrl, 'set session_replication_role = replica')).rejects.toThrow(/permission denied/);

    // As an earlier version left it: without the role and its password.
    await query(ownerUrl, 'drop role sendense_hub');
    await writeFile(connectionFile, JSON.stringify({ port, password }), { mode: 0o600 });
    const again = await server.ensureStarted();
    expect(await query(again.hubUrl, facts)).toEqual([{ rolname: 'sendense_hub', ...none }]);

    // As left by a program that ended after writing the file and before creating the role.
    await query(ownerUrl, 'drop role sendense_hub');
    expect(await server.ensureStarted()).toEqual(again);
    expect(await query(again.hubUrl, facts)).toEqual([{ rolname: 'sendense_hub', ...none }]);
  });

  it('keeps its password secret and requires it', async () => {
    const { ownerUrl: databaseUrl } = await server.ensureStarted();
    const connectionFile = await stat(join(directory, 'hub', 'postgres', 'connection.json'));
    expect(connectionFile.mode & 0o777).toBe(0o600);
    const { password } = new URL(databaseUrl);
    expect(password.length).toBeGreaterThanOrEqual(32);
    expect(await readFile(`/proc/${await postmaster(directory)}/cmdline`, 'utf8')).not.toContain(password);
    const wrong = new URL(databaseUrl);
    wrong.password = 'guess';
    await expect(query(wrong.toString(), 'select 1')).rejects.toThrow(/password authentication failed/);
  });
});

async function postmaster(directory: string): Promise<number> {
  return Number((await readFile(join(directory, 'hub', 'postgres', 'cluster', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

async function query(databaseUrl: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<object>(sql)).rows;
  } finally {
    await client.end();
  }
}
