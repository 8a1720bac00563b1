import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { awaitDatabase } from './await-database.js';
import { HubLease } from './hub-lease.js';
import { openDataSource } from './postgres.module.js';

const hub = { host: 'a', url: 'http://127.0.0.1:9080', version: '1', tunnel: null, identity: {} };
const quiet = { log: () => undefined, warn: () => undefined };
let database: TestDatabase | null = null;
let server: Server | null = null;
const sockets = new Set<Socket>();

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  server?.close();
  await database?.drop();
});

/** Proxies the database and resets the given number of connections first, like a server that was just killed. @returns its URL */
async function resetting(connections: number): Promise<string> {
  database = await createTestDatabase({ migrated: false });
  const url = new URL(database.databaseUrl);
  const { hostname, port } = url;
  let left = connections;
  server = createServer((near) => {
    sockets.add(near);
    near.on('error', () => undefined);
    if (left-- > 0) {
      near.once('data', () => near.resetAndDestroy());
      return;
    }
    const far = connect(Number(port), hostname);
    sockets.add(far);
    far.on('error', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the proxy has no port');
  url.hostname = '127.0.0.1';
  url.port = String(address.port);
  return url.toString();
}

describe('a start without a reachable database', () => {
  it('waits for it and logs that', async () => {
    const url = await resetting(2);
    const said: string[] = [];
    const log = { warn: (message: string) => void said.push(message) };
    const lock = await awaitDatabase(() => HubLease.acquire({ databaseUrl: url, hub, log: quiet }), log);
    await lock.release();
    expect(said).toEqual([expect.stringMatching(/startup is waiting for the database, which cannot be reached: .*read ECONNRESET/)]);
  });

  it('also waits during migrations', async () => {
    const url = await resetting(1);
    const dataSource = await awaitDatabase(() => openDataSource(url), quiet);
    expect(dataSource.isInitialized).toBe(true);
    await dataSource.destroy();
  });

  it('does not wait after a permanent error', async () => {
    const url = new URL(await resetting(0));
    url.pathname = '/no_such_database';
    await expect(awaitDatabase(() => HubLease.acquire({ databaseUrl: url.toString(), hub, log: quiet }), quiet)).rejects.toThrow(/does not exist/);
  });
});
