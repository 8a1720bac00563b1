import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { TunnelPair } from '../../../test/support/tunnel-pair.js';
import { configureLogging } from '../../lib/logging/logger.js';
import { runTool, type ToolOutput } from '../../lib/process/run-tool.js';
import { TUNNEL_FILES } from '../interface/tunnel-settings.js';

process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen', 'setpriv', 'curl');

jest.setTimeout(240_000);
configureLogging({ level: 'silent', format: 'text', program: 'test' });

/** When ssh gets nothing of what it requested, it exits with 255, or with 1 after a refused session, instead of staying. */
const REFUSED = [1, 255];
/** A permitted forwarding stays until it is stopped. */
const STAYS_MS = 20_000;

let pair: TunnelPair;
/** Belongs to the hub and other nodes; this node may not reach it. */
let secretPort = 0;

beforeAll(async () => {
  pair = await TunnelPair.create(3);
  await pair.answer('hub', pair.settings.hub_api_port);
  secretPort = await pair.answer('secret');
  await pair.startServer();
});

afterAll(async () => {
  await pair.destroy();
});

/** A client that connects again until `over`: the server may only now notice an earlier change of the key's line, and then cuts its connections. */
async function staying(args: readonly string[], over: AbortSignal): Promise<void> {
  while (!over.aborted) await ssh(args, pair.settings.user, over).catch(() => undefined);
}

/** A client with the node's own key that requests anything. */
function ssh(args: readonly string[], user = pair.settings.user, signal?: AbortSignal): Promise<ToolOutput> {
  const argv: readonly [string, ...string[]] = [
    'ssh',
    ...['-F', 'none', '-i', join(pair.nodeDirectory, TUNNEL_FILES.privateKey), '-p', String(pair.tunnelServerPort), '-l', user],
    ...['-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes', '-o', 'HostKeyAlias=sendense-hub', '-o', 'ExitOnForwardFailure=yes'],
    ...['-o', `UserKnownHostsFile=${join(pair.nodeDirectory, TUNNEL_FILES.knownHosts)}`],
    ...args,
  ];
  return runTool(argv, {
    deadlineMs: STAYS_MS,
    input: 'GET / HTTP/1.0\r\n\r\n',
    expectedExitCodes: [0, ...REFUSED],
    ...(signal === undefined ? {} : { signal }),
  });
}

describe('the key of a node', () => {
  it('may reach the hub', async () => {
    const { stdout } = await ssh(['-W', `127.0.0.1:${pair.settings.hub_api_port}`, '127.0.0.1']);
    expect(stdout).toMatch(/hub$/);
  });

  it.each([
    ['a shell', ['127.0.0.1']],
    ['a command', ['127.0.0.1', 'id']],
    ['a terminal', ['-tt', '127.0.0.1']],
    ['a command on a terminal', ['-tt', '127.0.0.1', 'id']],
    ['files', ['-s', '127.0.0.1', 'sftp']],
    ['its agent to be used', ['-A', '127.0.0.1', 'env']],
    ['windows', ['-X', '127.0.0.1', 'env']],
  ])('is refused %s', async (_what, args) => {
    const { stdout, stderr, exitCode } = await ssh(args);
    expect(stdout).toBe('');
    expect(REFUSED).toContain(exitCode);
    // Refused by the server after the login, not because of a mistake in this test.
    expect(stderr).toMatch(/open failed/);
  });

  it.each([
    ['another port', () => `127.0.0.1:${secretPort}`],
    ['the tunnel server itself', () => `127.0.0.1:${pair.tunnelServerPort}`],
    ['its own reverse port', () => `127.0.0.1:${pair.settings.reverse_port}`],
    ["another node's reverse port", () => `127.0.0.1:${pair.otherReversePort}`],
    ['a permitted port under another name', () => `localhost:${pair.settings.hub_api_port}`],
    ['a permitted port of another address', () => `127.0.0.2:${pair.settings.hub_api_port}`],
    ['a permitted port of IPv6', () => `[::1]:${pair.settings.hub_api_port}`],
    ['another machine', () => `10.0.0.1:${pair.settings.nbd_port_first}`],
  ])('is not connected to %s', async (_what, target) => {
    const { stdout, stderr, exitCode } = await ssh(['-W', target(), '127.0.0.1']);
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 255 });
    expect(stderr).toMatch(/administratively prohibited/);
  });

  it.each([
    ["another node's reverse port", () => `127.0.0.1:${pair.otherReversePort}:127.0.0.1:1`],
    ['a port of the pool', () => `127.0.0.1:${pair.settings.nbd_port_first}:127.0.0.1:1`],
    ['any port', () => '127.0.0.1:0:127.0.0.1:1'],
    ['its reverse port on all addresses', () => `0.0.0.0:${pair.settings.reverse_port}:127.0.0.1:1`],
    ['its reverse port on all addresses, written differently', () => `*:${pair.settings.reverse_port}:127.0.0.1:1`],
    ['a socket', () => `${join(pair.directory, 'taken.sock')}:127.0.0.1:1`],
    ['a proxy', () => `127.0.0.1:${pair.otherReversePort}`],
  ])('cannot listen at %s', async (_what, forward) => {
    const { exitCode, stderr } = await ssh(['-N', '-R', forward(), '127.0.0.1']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 255, stderr: expect.stringMatching(/remote port forwarding failed/) });
    expect(existsSync(join(pair.directory, 'taken.sock'))).toBe(false);
  });

  it('reaches nothing beyond the loopback address, even if its line was tampered with', async () => {
    const own = pair.line(await pair.nodeKey());
    const elsewhere = `127.0.0.2:${pair.settings.hub_api_port}`;
    try {
      await pair.permit(own.replace(/permitopen="[^"]*"/, `permitopen="${elsewhere}"`));
      const { exitCode, stderr } = await ssh(['-W', elsewhere, '127.0.0.1']);
      expect({ exitCode, stderr }).toEqual({ exitCode: 255, stderr: expect.stringMatching(/administratively prohibited/) });
    } finally {
      await pair.permit(own);
    }
  });

  it('cannot reach sockets of the hub', async () => {
    const [local, remote] = [join(pair.directory, 'local.sock'), join(pair.directory, 'remote.sock')];
    const server = createServer((_request, response) => response.end('secret')).listen(remote);
    const get = (socket: string): Promise<ToolOutput> => runTool(['curl', '--silent', '--show-error', '--unix-socket', socket, 'http://hub/']);
    const said = (socket: string): Promise<string> => get(socket).then(({ stdout }) => stdout, String);
    const over = new AbortController();
    const gate = staying(['-o', 'StreamLocalBindUnlink=yes', '-N', '-L', `${local}:${remote}`, '127.0.0.1'], over.signal);
    try {
      await until('the socket to answer on the hub itself', async () => (await said(remote)) === 'secret');
      const answer = await until('the forwarding to be tried', async () => /^(?!.*Failed to connect).+/.exec(await said(local))?.[0]);
      expect(answer).toMatch(/Empty reply|reset/);
    } finally {
      over.abort();
      await gate;
      server.close();
    }
  });

  it('cannot bypass the limits through its own proxy', async () => {
    const port = await pair.answer('x');
    await pair.silence(port);
    const over = new AbortController();
    const gate = staying(['-N', '-D', `127.0.0.1:${port}`, '127.0.0.1'], over.signal);
    const through = (target: number): Promise<ToolOutput> =>
      runTool(['curl', '--silent', '--show-error', '--socks5', `127.0.0.1:${port}`, `http://127.0.0.1:${target}/`]);
    try {
      await until('the proxy', async () => (await through(pair.settings.hub_api_port)).stdout === 'hub');
      await expect(through(secretPort)).rejects.toThrow();
    } finally {
      over.abort();
      await gate;
    }
  });

  it('does not work for another account, and only a key works', async () => {
    expect((await ssh(['-N', '127.0.0.1'], 'nobody')).stderr).toMatch(/Permission denied \(publickey\)/);
    const others = await ssh(['-N', '-o', 'PubkeyAuthentication=no', '-o', 'BatchMode=no', '-o', 'NumberOfPasswordPrompts=1', '127.0.0.1']);
    expect(others.stderr).toMatch(/Permission denied \(publickey\)/);
  });
});

describe('the tunnel server', () => {
  it('does not let silent strangers use up all its connections', async () => {
    const sockets: Socket[] = [];
    let closed = 0;
    for (let count = 0; count < 20; count++) {
      const socket = connect({ host: '127.0.0.1', port: pair.tunnelServerPort });
      socket.on('error', () => undefined).once('close', () => (closed += 1));
      sockets.push(socket);
    }
    await until('those above the limit to be closed', () => Promise.resolve(closed >= 4));
    for (const socket of sockets) socket.destroy();
    await until('a login', async () => (await ssh(['-W', `127.0.0.1:${pair.settings.hub_api_port}`, '127.0.0.1'])).stdout.endsWith('hub'));
  });

  it('refuses at startup anything that would keep it from serving', async () => {
    await expect(pair.startServer()).rejects.toThrow(/cannot listen on port/);
  });
});
