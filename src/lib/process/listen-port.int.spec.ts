import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { baseUrl, portToListenOn } from './listen-port.js';

const HOST = '127.0.0.1';
let taken: Server;
let port: number;

beforeEach(async () => {
  taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, HOST, resolve));
  const address = taken.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});

afterEach(async () => {
  await close();
});

function close(): Promise<void> {
  return new Promise((resolve) => {
    taken.close(() => {
      resolve();
    });
  });
}

describe('the port to listen on', () => {
  it('is awaited while another program uses it', async () => {
    const waiting = portToListenOn(HOST, port, null, 10_000);
    await close();
    await expect(waiting).resolves.toBe(port);
  });

  it('is reported by number when it stays in use', async () => {
    await expect(portToListenOn(HOST, port, null, 150)).rejects.toThrow(`port ${port} of ${HOST} is in use by another program`);
  });

  it('for 0 is the preferred one if that is free, otherwise any', async () => {
    await expect(portToListenOn(HOST, 0, port, 0)).resolves.toBe(0);
    await close();
    await expect(portToListenOn(HOST, 0, port, 0)).resolves.toBe(port);
    await expect(portToListenOn(HOST, 0, null, 0)).resolves.toBe(0);
  });

  it('is refused immediately for an address of another machine', async () => {
    await expect(portToListenOn('192.0.2.1', 9080, null, 60_000)).rejects.toThrow('cannot listen on port 9080 of 192.0.2.1');
  });
});

it.each([
  ['127.0.0.1', 'http://127.0.0.1:1'],
  ['0.0.0.0', 'http://127.0.0.1:1'],
  ['::', 'http://[::1]:1'],
  ['hub.example.org', 'http://hub.example.org:1'],
])('a server on %s is reached at %s', (host, url) => {
  expect(baseUrl(host, 1)).toBe(url);
});
