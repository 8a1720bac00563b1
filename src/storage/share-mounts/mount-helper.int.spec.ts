import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loggerFor } from '../../lib/logging/logger.js';
import { MountHelperClient } from './mount-helper.client.js';
import { type MountHelper, notMounted } from './mount-helper.port.js';
import { MountHelperServer } from './mount-helper.server.js';

const NAME = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';
const share = { type: 'nfs', server: 'nas', export: '/backups', options: ['hard'] } as const;

/** What reached the helper. */
const calls: unknown[] = [];
const helper: MountHelper = {
  mount(name, wanted) {
    calls.push({ name, wanted });
    if (wanted.server === 'refusing') return Promise.reject(notMounted('access_denied', 'The server refuses this machine.'));
    return Promise.resolve({ path: `/mounts/${name}`, version: '4.2' });
  },
  unmount(name) {
    calls.push({ name });
    return Promise.resolve();
  },
  status: () => Promise.resolve({ directory: '/mounts', mounted: [NAME] }),
};
let directory: string;
let socket: string;
let server: MountHelperServer;
let client: MountHelperClient;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-mounts-'));
  socket = join(directory, 'helper.sock');
  server = await MountHelperServer.start(socket, process.getgid?.() ?? 0, helper, loggerFor('Mounts'));
  client = new MountHelperClient(socket);
});

afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

async function raw(text: string): Promise<unknown> {
  const connection = connect({ path: socket, allowHalfOpen: true });
  connection.end(text);
  return JSON.parse(await readAll(connection));
}

describe('the mount helper', () => {
  it('does what the hub asks for, and is closed to other accounts', async () => {
    expect((await stat(socket)).mode & 0o777).toBe(0o660);
    expect(await client.mount(NAME, share)).toEqual({ path: `/mounts/${NAME}`, version: '4.2' });
    await client.unmount(NAME);
    expect(await client.status()).toEqual({ directory: '/mounts', mounted: [NAME] });
    expect(calls.splice(0)).toEqual([{ name: NAME, wanted: share }, { name: NAME }]);
  });

  it('says why a share cannot be mounted', async () => {
    await expect(client.mount(NAME, { ...share, server: 'refusing' })).rejects.toMatchObject({
      kind: 'invalid',
      code: 'share_not_mounted',
      facts: { reason: 'access_denied' },
    });
    calls.splice(0);
  });

  it('checks requests by itself, and passes nothing on that it refuses', async () => {
    for (const request of [
      '',
      'mount',
      '{}',
      `{"do":"unmount","name":"../etc"}`,
      JSON.stringify({ do: 'mount', name: NAME, share: { ...share, options: ['exec'] } }),
    ]) {
      expect(await raw(request)).toMatchObject({ reason: 'failed' });
    }
    await expect(raw('x'.repeat(100_000))).rejects.toThrow();
    expect(calls).toEqual([]);
  });

  it('is reported as missing when nothing listens', async () => {
    await expect(new MountHelperClient(join(directory, 'none.sock')).status()).rejects.toMatchObject({ kind: 'unavailable', code: 'share_not_mounted' });
  });
});
