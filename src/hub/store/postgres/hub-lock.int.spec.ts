import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';
import { type OwnPostgres, startOwnPostgres } from '../../../../test/support/postgres.js';
import { HubLock } from './hub-lock.js';

jest.setTimeout(60_000);

describe('the hub lock', () => {
  let own: OwnPostgres;
  let messages: { readonly seen: string[]; until(pattern: RegExp): Promise<void> };
  let held: HubLock[] = [];
  const log = { log: (message: string) => messages.seen.push(message), warn: (message: string) => messages.seen.push(message) };

  beforeEach(async () => {
    own = await startOwnPostgres();
    const seen: string[] = [];
    messages = {
      seen,
      until: async (pattern) => {
        while (!seen.some((message) => pattern.test(message))) await new Promise((resolve) => setTimeout(resolve, 10));
      },
    };
    held = [];
  });

  afterEach(async () => {
    for (const lock of held) await lock.release();
    await own.remove();
  });

  const acquire = async (onLost?: () => void): Promise<HubLock> => {
    const lock = await HubLock.acquire(own.databaseUrl, log, onLost);
    held.push(lock);
    return lock;
  };

  it('is held by one hub at a time', async () => {
    const first = await acquire();
    await expect(acquire()).rejects.toMatchObject({ code: 'hub_already_running' });
    await first.release();
    await acquire();
  });

  it('is taken again after a restart of the server', async () => {
    await acquire();
    await own.server.stop();
    await own.server.ensureStarted();
    await messages.until(/held again/);
    await expect(acquire()).rejects.toMatchObject({ code: 'hub_already_running' });
  });

  it('reports when another hub was faster', async () => {
    let tell: () => void = () => undefined;
    const lost = new Promise<void>((resolve) => {
      tell = resolve;
    });
    await acquire(tell);
    const other = new pg.Client({ connectionString: own.databaseUrl });
    await other.connect();
    // The other hub is queued and gets the lock as soon as the session of the first ends.
    const taken = other.query('select pg_advisory_lock(7310614, 2)');
    const admin = new pg.Client({ connectionString: own.databaseUrl });
    await admin.connect();
    for (let waiting = 0; waiting === 0;) waiting = (await admin.query(`select from pg_locks where locktype = 'advisory' and not granted`)).rowCount ?? 0;
    await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'sendense-hub-lock-%'`);
    await taken;
    await lost;
    await other.end();
    await admin.end();
  });
});
