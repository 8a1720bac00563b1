import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { freePortRange } from '../../../test/support/free-ports.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { TestSshd } from '../../../test/support/test-sshd.js';
import { runTool } from '../../lib/process/run-tool.js';
import { authorizedKeysLine, pairingKeyLine, writeAuthorizedKeys } from '../../hub/nodes/node-link/authorized-keys.js';
import { callThroughSsh, type ThroughSsh } from '../../node/hub-link/call-through-ssh.js';
import { ensureKeyPair } from '../../lib/ssh/host-key.js';
import { newPairingSecret, pairingCodeText, pairingPrivateKeyText, pairingProof, pairingPublicKey, parsePairingCode } from '../interface/pairing-code.js';

jest.setTimeout(60_000);
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen');

let directory: string;
let sshd: TestSshd;
let api: Server;
let apiPort: number;
const secret = newPairingSecret();
const call = { method: 'POST', path: '/x?y=1', headers: { 'content-type': 'application/json' }, body: '{"a":"ü"}' } as const;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-door-'));
  await chmod(directory, 0o755);
  const port = await freePortRange(1);
  sshd = await TestSshd.start(directory, port);
  api = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => response.writeHead(201, { 'x-path': request.url ?? '' }).end(`${request.method ?? ''} ${text}`));
  });
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
  apiPort = (api.address() as AddressInfo).port; // a TCP server's address is never a pipe's name
});

afterAll(async () => {
  api.close();
  await sshd.stop();
  await rm(directory, { recursive: true, force: true });
});

function through(changes: Partial<ThroughSsh> = {}): ThroughSsh {
  return {
    host: '127.0.0.1',
    tunnelPort: sshd.port,
    user: userInfo().username,
    hostKey: sshd.hostKey,
    key: { text: pairingPrivateKeyText(secret) },
    apiPort,
    ...changes,
  };
}

async function letIn(expiresInMs: number): Promise<void> {
  const line = pairingKeyLine({ publicKey: pairingPublicKey(secret), nodeId: 'n1', apiPort, expiresAt: new Date(Date.now() + expiresInMs) });
  await writeAuthorizedKeys(directory, [line]);
}

const soon = (): AbortSignal => AbortSignal.timeout(30_000);

describe('the key of a pairing code', () => {
  it('can be read by OpenSSH', async () => {
    const file = join(directory, 'pairing');
    await writeFile(file, pairingPrivateKeyText(secret), { mode: 0o600 });
    const { stdout } = await runTool(['ssh-keygen', '-y', '-f', file]);
    expect(stdout.trim()).toBe(pairingPublicKey(secret));
  });

  it("grants access to the hub's API and nothing else", async () => {
    await letIn(60_000);
    const answer = await callThroughSsh(through(), call, soon());
    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-path')).toBe('/x?y=1');
    expect(answer.body.toString()).toBe('POST {"a":"ü"}');
    await expect(callThroughSsh(through({ apiPort: sshd.port }), call, soon())).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('grants nothing once it has expired', async () => {
    await letIn(-1_000);
    await expect(callThroughSsh(through(), call, soon())).rejects.toMatchObject({ code: 'key_refused' });
  });

  it('grants nothing once its line is gone', async () => {
    await letIn(60_000);
    await writeAuthorizedKeys(directory, []);
    await expect(callThroughSsh(through(), call, soon())).rejects.toMatchObject({ code: 'key_refused' });
  });
});

describe('the hub’s host key', () => {
  it('is the only accepted one: nothing is sent to another', async () => {
    await letIn(60_000);
    const other = await ensureKeyPair(join(directory, 'other_host'));
    await expect(callThroughSsh(through({ hostKey: other }), call, soon())).rejects.toMatchObject({ code: 'host_key_changed' });
  });

  it('is unreachable when nothing listens', async () => {
    const tunnelPort = await freePortRange(1);
    await expect(callThroughSsh(through({ tunnelPort }), call, soon())).rejects.toMatchObject({ code: 'unreachable' });
  });
});

describe('authorized_keys', () => {
  it("is replaced atomically, only when it changes, and is readable by the tunnel server's account", async () => {
    const line = authorizedKeysLine({ publicKey: sshd.hostKey, nodeId: 'n1', openPorts: [10_100, 9080], reversePort: 9082 });
    expect(line).toBe(
      `restrict,port-forwarding,permitopen="127.0.0.1:10100",permitopen="127.0.0.1:9080",permitlisten="127.0.0.1:9082" ${sshd.hostKey} node:n1`,
    );
    expect(await writeAuthorizedKeys(directory, [line])).toBe(true);
    expect(await writeAuthorizedKeys(directory, [line])).toBe(false);
    expect(await readFile(join(directory, 'authorized_keys'), 'utf8')).toBe(`${line}\n`);
    expect((await stat(join(directory, 'authorized_keys'))).mode & 0o777).toBe(0o644);
  });
});

describe('a pairing code', () => {
  it.each(['hub.example.org', '192.0.2.7', '2001:db8::7'])('describes the hub at %s completely', (host) => {
    const code = {
      user: 'sendense-tunnel',
      host,
      tunnelPort: 9022,
      hostKey: sshd.hostKey,
      apiPort: 9080,
      nodeId: '0193a5c2-7d1e-7000-8000-000000000002',
      secret,
    };
    const text = pairingCodeText(code);
    expect(text).toMatch(/^[!-~]+$/);
    expect(parsePairingCode(` ${text}\n`)).toEqual(code);
    expect(parsePairingCode(text.slice(0, -1))).toBeNull();
    expect(parsePairingCode(text.replace(':9022', ':99999'))).toBeNull();
    expect(parsePairingCode(text.replace('sendense-tunnel', '-oProxyCommand'))).toBeNull();
  });

  it('has a proof and a key that reveal neither its secret nor each other', () => {
    const values = [secret, pairingProof(secret), pairingPublicKey(secret).split(' ')[1] ?? '', pairingProof(newPairingSecret())];
    expect(new Set(values).size).toBe(4);
    expect(pairingProof(secret)).toBe(pairingProof(secret));
  });
});
