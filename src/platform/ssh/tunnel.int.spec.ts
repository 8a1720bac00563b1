import { randomBytes } from 'node:crypto';
import { afterEach, expect } from '@jest/globals';
import { requireTools } from '../../../test/support/require-tools.js';
import { ask, echoed, TunnelPair } from '../../../test/support/tunnel-pair.js';

process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const { it } = requireTools('ssh', 'sshd', 'ssh-keygen', 'setpriv');

let pair: TunnelPair;

afterEach(async () => {
  await pair.destroy();
});

it('carries all 101 ports at once, and the APIs both ways', async () => {
  pair = await TunnelPair.create(101);
  const { settings } = pair;
  await pair.echoOnPool();
  await pair.answer('hub', settings.hub_api_port);
  await pair.startServer();
  pair.startTunnel();
  await pair.becomes('up');
  expect(pair.server?.loggedIn()).toEqual([await pair.fingerprint(), await pair.fingerprint()]);

  const sent = randomBytes(256 * 1024);
  const ports = Array.from({ length: 101 }, (_, offset) => settings.nbd_port_first + offset);
  const received = await Promise.all(ports.map((port) => echoed(settings.local_host, port, sent)));
  expect(received.filter((bytes) => bytes.equals(sent))).toHaveLength(101);
  expect(await ask('127.0.0.1', settings.reverse_port)).toBe('node');
  expect(await ask(settings.local_host, settings.hub_api_port)).toBe('hub');
});
