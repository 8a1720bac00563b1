import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { freePortRange } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { proofOf } from '../../../test/support/proven-answers.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { TestSshd } from '../../../test/support/test-sshd.js';
import { Clock } from '../../lib/clock/clock.js';
import { NodeConfig } from '../node.config.js';
import { isSignedWith, parseSignature } from '../../lib/signed-calls/call-signature.js';
import { NodeCredentials } from '../../lib/signed-calls/node-credentials.js';
import { authorizedKeysLine, writeAuthorizedKeys } from '../../hub/nodes/node-link/authorized-keys.js';
import { ensureKeyPair, readPublicKey } from '../../lib/ssh/host-key.js';
import { knownHostsText, tunnelSettingsText } from '../../tunnel/interface/tunnel-settings.js';
import { NodeKeys } from './node-keys.service.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen');

const NODE_ID = '0193a5c2-7d1e-7000-8000-000000000002';
const OLD = 'old-token-of-the-node-old-token-of-the-node';

let directory: string;
let tunnel: string;
let tokenFile: string;
let sshd: TestSshd;
let hub: Server;
let apiPort: number;
/** Accepted calls to the hub: path, and the token that signed them. */
let believed: { readonly path: string; readonly token: string }[];
/** Tokens that the hub accepts. */
let counting: string[];
let credentials: NodeCredentials;
let running: NodeKeys[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-node-keys-'));
  tunnel = join(directory, 'tunnel');
  tokenFile = join(directory, 'node.token');
  await mkdir(join(directory, 'sshd'));
  believed = [];
  counting = [];
  running = [];
  hub = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')));
    request.on('end', () => {
      const signature = parseSignature(request.headers.authorization);
      const call = { direction: 'to_hub' as const, method: 'POST', path: request.url ?? '', body };
      const token = counting.find((one) => signature !== null && signature !== 'malformed' && isSignedWith(one, call, signature));
      if (token === undefined) {
        response.writeHead(401, { 'content-type': 'application/json' }).end('{"code":"signature_invalid","detail":"no"}');
        return;
      }
      believed.push({ path: request.url ?? '', token });
      response.writeHead(204, proofOf(request, token, 204, '')).end();
    });
  });
  await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
  apiPort = (hub.address() as AddressInfo).port; // a TCP server's address is never a pipe's name
  sshd = await TestSshd.start(join(directory, 'sshd'), await freePortRange(1));
  await ensureKeyPair(join(tunnel, 'id_ed25519'));
  writeFileSync(tokenFile, `${OLD}\n`, { mode: 0o600 });
  writeFileSync(join(tunnel, 'known_hosts'), knownHostsText(sshd.hostKey));
  const ports = { hub_port: sshd.port, reverse_port: 9082, nbd_port_first: 10_100, nbd_port_count: 1, hub_api_port: apiPort };
  writeFileSync(
    join(tunnel, 'tunnel.json'),
    tunnelSettingsText({ ...ports, hub_host: '127.0.0.1', user: userInfo().username, node_id: NODE_ID, local_host: '127.0.0.1' }),
  );
});

afterEach(async () => {
  for (const keys of running) keys.onModuleDestroy();
  hub.close();
  await sshd.stop();
  await rm(directory, { recursive: true, force: true });
});

/** The node, as after a start. */
function started(): NodeKeys {
  credentials = new NodeCredentials();
  const config = Object.assign(new NodeConfig(), { nodeId: NODE_ID, dataDirectory: directory, tunnelDirectory: tunnel, tokenFile });
  const keys = new NodeKeys(config, credentials, new Clock());
  keys.onModuleInit();
  running.push(keys);
  return keys;
}

async function letIn(...publicKeys: readonly string[]): Promise<void> {
  const lines = publicKeys.map((publicKey) => authorizedKeysLine({ publicKey, nodeId: NODE_ID, openPorts: [apiPort], reversePort: 9082 }));
  await writeAuthorizedKeys(join(directory, 'sshd'), lines);
}

const text = (file: string): string => readFileSync(file, 'utf8').trim();

describe('a rotation of the node’s keys', () => {
  it('returns the same keys for the same rotation, even after a restart, and uses none of them before activation', async () => {
    const rotation = randomUUID();
    const made = await started().prepare(rotation);
    expect(await started().prepare(rotation)).toEqual(made);
    expect(text(tokenFile)).toBe(OLD);
    expect(credentials.ownTokens).toEqual([OLD, made.token]);
    expect(await readPublicKey(join(tunnel, 'id_ed25519.pub'))).not.toBe(made.public_key);
    const other = await started().prepare(randomUUID());
    expect(other.token).not.toBe(made.token);
    expect(other.public_key).not.toBe(made.public_key);
  });

  it('shows the hub the new key and the new token at once, and lets calls in progress finish with the old one', async () => {
    const rotation = randomUUID();
    const keys = started();
    const made = await keys.prepare(rotation);
    await letIn(made.public_key);
    counting = [made.token];
    await keys.activate(rotation);
    await until('the hub to see them', () => Promise.resolve(believed.length > 0 && !existsSync(join(tunnel, 'rotation'))));
    expect(believed).toEqual([{ path: `/api/v1/nodes/${NODE_ID}/keys-in-use`, token: made.token }]);
    expect(text(tokenFile)).toBe(made.token);
    expect(await readPublicKey(join(tunnel, 'id_ed25519.pub'))).toBe(made.public_key);
    expect(credentials.ownTokens).toEqual([made.token, OLD]);
    await expect(keys.activate(rotation)).rejects.toMatchObject({ code: 'rotation_not_found' });
  });

  it('resumes if the node was killed between any two of its steps', async () => {
    for (const killedAfter of ['token', 'key', 'public key'] as const) {
      const rotation = randomUUID();
      const made = await started().prepare(rotation);
      // The rotation, up to the step before the kill.
      writeFileSync(`${tokenFile}.previous`, readFileSync(tokenFile), { mode: 0o600 });
      renameSync(`${tokenFile}.next`, tokenFile);
      if (killedAfter !== 'token') renameSync(join(tunnel, 'id_ed25519.next'), join(tunnel, 'id_ed25519'));
      if (killedAfter === 'public key') renameSync(join(tunnel, 'id_ed25519.pub.next'), join(tunnel, 'id_ed25519.pub'));
      const keys = started();
      await letIn(made.public_key);
      counting = [made.token];
      await keys.activate(rotation);
      await until('the rotation to finish', () => Promise.resolve(!existsSync(join(tunnel, 'rotation'))));
      expect(believed.at(-1)?.token).toBe(made.token);
      expect(await readPublicKey(join(tunnel, 'id_ed25519.pub'))).toBe(made.public_key);
    }
  });

  it('is retried if the hub is unreachable with the new key, and keeps the valid keys in the meantime', async () => {
    const rotation = randomUUID();
    const keys = started();
    const made = await keys.prepare(rotation);
    await letIn();
    counting = [made.token];
    await keys.activate(rotation);
    await until('the new token to be in place', () => Promise.resolve(text(tokenFile) === made.token));
    expect(existsSync(join(tunnel, 'rotation'))).toBe(true);
    expect(credentials.ownTokens).toContain(OLD);
    await letIn(made.public_key);
    await until('the rotation to finish', async () => {
      await keys.activate(rotation).catch(() => undefined);
      return !existsSync(join(tunnel, 'rotation'));
    });
    expect(believed.length).toBeGreaterThan(0);
  });

  it('is refused by a node that was registered by its address', async () => {
    await rm(join(tunnel, 'tunnel.json'));
    await expect(started().prepare(randomUUID())).rejects.toMatchObject({ code: 'node_not_enrolled' });
  });
});
