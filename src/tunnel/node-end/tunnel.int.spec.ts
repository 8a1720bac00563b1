import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, jest } from '@jest/globals';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { ask, echoed, TunnelPair } from '../../../test/support/tunnel-pair.js';
import { configureLogging } from '../../lib/logging/logger.js';
import { PortProbe } from '../../lib/nbd/port-probe.js';
import { runTool } from '../../lib/process/run-tool.js';
import { ensureKeyPair, HOST_KEY_FILE } from '../../lib/ssh/host-key.js';
import { TUNNEL_FILES } from '../interface/tunnel-settings.js';
import { tunnelSocket } from '../interface/tunnel-sockets.js';
import { inLongProof } from '../../../test/support/long-proof.js';

process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const { it } = requireTools('ssh', 'sshd', 'ssh-keygen', 'setpriv');

jest.setTimeout(240_000);
configureLogging({ level: 'silent', format: 'text', program: 'test' });

let pair: TunnelPair;

afterEach(async () => {
  await pair.destroy();
  // Including those that a test has stopped.
  await until('ssh and sshd to be gone', () => Promise.resolve(processesOf(/^sshd?$/).length === 0));
});

/** Processes of this name that descend from this one, which runs both ends. */
function processesOf(name: RegExp): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return name.test(readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) && isOurs(pid);
      } catch {
        // Not a process, or it has exited meanwhile.
        return false;
      }
    });
}

function isOurs(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  return parent === process.pid || (parent > 1 && isOurs(parent));
}

async function standing(ports: number, connections = 2): Promise<TunnelPair> {
  pair = await TunnelPair.create(ports);
  await pair.answer('hub', pair.settings.hub_api_port);
  await pair.startServer();
  pair.startTunnel(connections);
  await pair.becomes('up');
  return pair;
}

describe('a tunnel', () => {
  it('carries all 101 ports at once, and the APIs in both directions', async () => {
    const { settings, server, echoOnPool, fingerprint } = await standing(101);
    await echoOnPool.call(pair);
    expect(server?.loggedIn()).toEqual([await fingerprint.call(pair), await fingerprint.call(pair)]);

    const sent = randomBytes(256 * 1024);
    const ports = Array.from({ length: 101 }, (_, offset) => settings.nbd_port_first + offset);
    const received = await Promise.all(ports.map((port) => echoed(tunnelSocket(pair.nodeDirectory, port), sent)));
    expect(received.filter((bytes) => bytes.equals(sent))).toHaveLength(101);
    // Every account on the node can connect to a TCP port, so exports have none there.
    for (const port of ports) expect(await new PortProbe().isFree(settings.local_host, port)).toBe(true);
    expect(await ask('127.0.0.1', settings.reverse_port)).toBe('node');
    expect(await ask(settings.local_host, settings.hub_api_port)).toBe('hub');
  });

  it('comes back after its connections were killed, and is degraded while one of them is gone', async () => {
    await standing(2);
    const [first] = processesOf(/^ssh$/);
    process.kill(first ?? 0, 'SIGKILL');
    const degraded = await pair.becomes('degraded', 0, 'connection_lost');
    expect(degraded.connections).toEqual({ wanted: 2, up: 1 });
    const again = await pair.becomes('up', degraded.number);
    await pair.server?.stop();
    const down = await pair.becomes('down', again.number);
    expect(down.connections).toEqual({ wanted: 2, up: 0 });
    await pair.becomes('down', again.number, 'connection_refused');
    await pair.startServer();
    await pair.becomes('up', down.number);
    expect(await ask('127.0.0.1', pair.settings.reverse_port)).toBe('node');
  });

  it('stays up and reports it while its hub is down: transfers need only the exports', async () => {
    await standing(2);
    const ssh = processesOf(/^ssh$/);
    await pair.silence(pair.settings.hub_api_port);
    const away = await pair.becomes('degraded', 0, 'hub_not_answering');
    expect(away.connections).toEqual({ wanted: 2, up: 2 });
    await pair.answer('hub', pair.settings.hub_api_port);
    await pair.becomes('up', away.number);
    expect(processesOf(/^ssh$/)).toEqual(ssh);
  });

  inLongProof(() => {
    it('detects a far end that goes silent without closing anything', async () => {
      await standing(2, 1);
      for (const pid of processesOf(/^sshd$/)) process.kill(pid, 'SIGSTOP');
      const down = await pair.becomes('down', 0);
      expect(down.cause?.code).toMatch(/^(no_answer|connection_lost)$/);
      // The stopped sshd still holds its port at the hub.
      await pair.becomes('down', 0, 'reverse_port_taken');
      for (const pid of processesOf(/^sshd$/)) process.kill(pid, 'SIGCONT');
      await pair.becomes('up', down.number);
    });
  });

  it('applies a new key and new settings one connection after another', async () => {
    await standing(2);
    const before = await pair.fingerprint();
    await ensureKeyPair(join(pair.directory, 'new'));
    await pair.permit(pair.line(await pair.nodeKey()) + pair.line(await ensureKeyPair(join(pair.directory, 'new'))));
    for (const [from, to] of [
      ['new', TUNNEL_FILES.privateKey],
      ['new.pub', TUNNEL_FILES.publicKey],
    ] as const) {
      await runTool(['mv', join(pair.directory, from), join(pair.nodeDirectory, to)]);
    }
    const after = await pair.fingerprint();
    expect(after).not.toBe(before);
    await until('both connections to have the new key', () => Promise.resolve(pair.server?.loggedIn().join() === [after, after].join()));
    const transitions = await pair.transitions();
    expect(transitions.filter(({ connections }) => connections.up === 0).map(({ state }) => state)).toEqual(['connecting']);
  });
});

describe('a tunnel is never established', () => {
  it('to a hub with another host key', async () => {
    pair = await TunnelPair.create(2);
    await pair.startServer();
    await pair.pin(await ensureKeyPair(join(pair.directory, 'other')));
    pair.startTunnel();
    const down = await pair.becomes('down', 0, 'host_key_changed');
    expect(down.cause?.detail).toMatch(/, but SHA256:.* pair the node again/);
    expect(down.cause?.detail).not.toMatch(/ssh-keygen/);
    expect(pair.server?.loggedIn()).toEqual([]);
  });

  it('to a hub that has changed its host key meanwhile', async () => {
    await standing(2);
    await pair.server?.stop();
    rmSync(join(pair.hubDirectory, HOST_KEY_FILE));
    await pair.startServer();
    await pair.becomes('down', 0, 'host_key_changed');
    expect(pair.server?.loggedIn()).toEqual([]);
  });

  it('with a key that the hub does not know', async () => {
    pair = await TunnelPair.create(2);
    await pair.permit('');
    await pair.startServer();
    pair.startTunnel();
    await pair.becomes('down', 0, 'key_refused');
    await pair.permit(pair.line(await pair.nodeKey()));
    await pair.answer('hub', pair.settings.hub_api_port);
    await pair.becomes('up');
  });

  it('on ports that another program uses', async () => {
    pair = await TunnelPair.create(2);
    await pair.startServer();
    await pair.answer('somebody', pair.settings.reverse_port);
    // With several connections the others would stay up.
    pair.startTunnel(1);
    await pair.becomes('down', 0, 'reverse_port_taken');
  });

  it('before the node is paired, and then without a restart', async () => {
    pair = await TunnelPair.create(2);
    const settings = join(pair.nodeDirectory, TUNNEL_FILES.settings);
    await runTool(['mv', settings, `${settings}.away`]);
    await pair.answer('hub', pair.settings.hub_api_port);
    await pair.startServer();
    pair.startTunnel();
    const missing = await pair.becomes('down', 0, 'not_enrolled');
    await runTool(['mv', `${settings}.away`, settings]);
    await pair.becomes('up', missing.number);
  });
});

describe('a key', () => {
  it('that is revoked loses its connections immediately, and no other key does', async () => {
    await standing(2);
    const own = pair.line(await pair.nodeKey());
    const other = `restrict,port-forwarding,permitopen="127.0.0.1:1" ${await ensureKeyPair(join(pair.directory, 'other'))} other\n`;
    await pair.permit(own + other);
    expect(pair.server?.loggedIn()).toHaveLength(2);
    await pair.permit(other);
    await until('its connections to be ended', () => Promise.resolve(pair.server?.loggedIn().length === 0));
    await pair.becomes('down', 0, 'key_refused');
  });

  it('whose permissions change must reconnect', async () => {
    await standing(2);
    const ssh = processesOf(/^ssh$/);
    await pair.permit(pair.line(await pair.nodeKey()).replace('restrict,', 'restrict,permitopen="127.0.0.1:1",'));
    await until('new connections', () => Promise.resolve(pair.server?.loggedIn().length === 2 && processesOf(/^ssh$/).every((pid) => !ssh.includes(pid))));
  });
});
