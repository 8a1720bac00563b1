import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';
import { HubLease, NO_HUB } from '../../src/hub/store/postgres/hub-lease.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(180_000);
const CLI = join(import.meta.dirname, '../../dist/src/cli/main.cli.js');
const EVENTS = 12_000;

let directory: string;
let from: TestDatabase;
let to: TestDatabase;
let target: pg.Client;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-events-copy-'));
  [from, to] = [await createTestDatabase(), await createTestDatabase({ migrated: false })];
  await writeFile(join(directory, 'from.url'), `${from.databaseUrl}\n`);
  await writeFile(join(directory, 'to.url'), to.databaseUrl);
  const source = new pg.Client({ connectionString: from.databaseUrl });
  await source.connect();
  await source.query(
    `insert into event_store.events select n + 1, 'thing-' || n % 100, n / 100, gen_random_uuid(), 'N', 'thing', jsonb_build_object('n', n),
       jsonb_build_object('actor', 'test', 'text', repeat('x', 200)), now() from generate_series(0, $1 - 1) n`,
    [EVENTS],
  );
  await source.end();
  target = new pg.Client({ connectionString: to.databaseUrl });
  await target.connect();
});

afterAll(async () => {
  await target.end();
  await Promise.all([from.drop(), to.drop()]);
  await rm(directory, { recursive: true, force: true });
});

function start(...argv: readonly string[]): ChildProcess {
  const env = { PATH: process.env['PATH'], SENDENSE_DATA_DIRECTORY: join(directory, 'data') };
  return spawn(process.execPath, [CLI, 'events', 'copy', ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function copy(...argv: readonly string[]): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = start(...argv);
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => (stream === null ? Promise.resolve('') : text(stream)));
  await once(child, 'close');
  return { code: child.exitCode, stdout: (await stdout) ?? '', stderr: (await stderr) ?? '' };
}

const files = (): readonly string[] => ['--from', join(directory, 'from.url'), '--to', join(directory, 'to.url')];

/** Events in the target; 0 also before its tables exist. */
async function present(): Promise<number> {
  const { rows: found } = await target.query<{ there: boolean }>(`select to_regclass('event_store.events') is not null as there`);
  if (found[0]?.there !== true) return 0;
  const { rows } = await target.query<{ count: number }>('select count(*)::integer as count from event_store.events');
  return rows[0]?.count ?? 0;
}

describe('sendense events copy', () => {
  it('resumes a copy that was killed, and proves at the end that both stores are equal', async () => {
    const killed = start(...files());
    const closed = once(killed, 'close');
    while ((await present()) === 0 && killed.exitCode === null) await pause(5);
    killed.kill('SIGKILL');
    await closed;
    expect(killed.signalCode).toBe('SIGKILL');
    // The server ends the sessions of the dead process by itself.
    let resumed = await copy(...files(), '--json');
    while (resumed.stdout.includes('hub_already_running')) resumed = await copy(...files(), '--json');
    const result = JSON.parse(resumed.stdout) as { events: number; copied: number; ledger_root: string };
    expect(result).toMatchObject({ events: EVENTS, ledger_root: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/) });
    expect(result.copied).toBeLessThan(EVENTS);
    expect(await present()).toBe(EVENTS);
    const again = await copy(...files());
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining(`0 events copied, ${EVENTS} were there already`) });
    expect(again.stdout).toContain(result.ledger_root);
  });

  inLongProof(() => {
    it('refuses stores that a hub uses, and places that are no store, before anything is changed', async () => {
      const lock = await HubLease.acquire({ databaseUrl: from.databaseUrl, hub: NO_HUB, log: { log: () => undefined, warn: () => undefined } });
      try {
        expect(await copy(...files(), '--json')).toMatchObject({ code: 1, stdout: expect.stringContaining('hub_already_running') });
      } finally {
        await lock.release();
      }
      const url = new URL(to.databaseUrl);
      url.password = 'open';
      const open = await copy('--from', join(directory, 'from.url'), '--to', url.toString());
      expect(open).toMatchObject({ code: 2, stderr: expect.stringContaining('put the URL in a file') });
      expect(open.stderr).not.toContain('open@');
      for (const [place, message] of [
        ['mysql://localhost/x', /does not name a store/],
        [join(directory, 'none'), /neither "hub", a URL nor a readable file/],
        [join(directory, 'from.url'), /the same store/],
      ] as const) {
        expect(await copy('--from', join(directory, 'from.url'), '--to', place)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
      }
    });
  });
});
