import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { until } from '../../../../../test/support/hub-system.js';
import { InMemoryEventStore } from '../../../../../test/support/in-memory-event-store.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { ListenAddress } from '../../../../lib/http/listen-address.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { NodeCredentials } from '../../../../lib/signed-calls/node-credentials.js';
import { NodeTokenFiles } from '../../node-link/node-token-files.js';
import { type NodeEvent, nodeStream } from '../model/node.events.js';
import { PublishNodeAccessReactor } from './publish-node-access.reactor.js';

jest.setTimeout(120_000);

const KEY = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'K'.repeat(43)}`;
const PAIRING = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'P'.repeat(43)}`;
const TOKEN = 'token-of-the-node-token-of-the-node-token-00';
const clock = new Clock();

let directory: string;
let store: InMemoryEventStore;
let config: HubConfig;
let credentials: NodeCredentials;
let reactors: PublishNodeAccessReactor[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-node-access-'));
  store = new InMemoryEventStore();
  config = Object.assign(new HubConfig(), {
    dataDirectory: directory,
    sharedDirectory: directory,
    tunnelDirectory: join(directory, 'tunnel'),
    nbdPortFirst: 10_100,
    nbdPortCount: 2,
  });
  reactors = [];
});

afterEach(async () => {
  for (const reactor of reactors) await reactor.onApplicationShutdown();
  await rm(directory, { recursive: true, force: true });
});

/** The part of the hub under test, as after a start. */
async function started(): Promise<PublishNodeAccessReactor> {
  credentials = new NodeCredentials();
  const runner = new CommandRunner(store, clock, '6b7e4f0a-0000-4000-8000-000000000001');
  // The only two members in use.
  const listening = { loopbackPort: () => 9080, whenListening: (call: () => void) => call() } as ListenAddress;
  const reactor = new PublishNodeAccessReactor(store, runner, clock, new Ids(), config, listening, credentials, new NodeTokenFiles(config), new KeyedMutex());
  reactors.push(reactor);
  await reactor.onModuleInit();
  reactor.onApplicationBootstrap();
  return reactor;
}

async function append(...events: readonly NodeEvent[]): Promise<string> {
  const metadata = { $correlationId: 'c', $causationId: 'c', actor: 'api:test', hub_id: 'h', schema_version: 1, time: clock.iso() };
  const toAppend = events.map((event) => ({ id: new Ids().next(), type: event.type, data: event.data, metadata }));
  return (await store.append(nodeStream('n1'), 'any', toAppend)).position;
}

function offer(expiresInMs: number): NodeEvent {
  const now = clock.now().getTime();
  const expires_at = new Date(now + expiresInMs).toISOString();
  const data = { node_id: 'n1', name: 'rack-1', reverse_port: 9082, pairing_public_key: PAIRING, proof_sha256: 'p', expires_at, started_at: clock.iso() };
  return { type: 'NodeEnrolmentStarted', data };
}

function paired(): NodeEvent {
  const token_sha256 = createHash('sha256').update(TOKEN).digest('hex');
  const host = { hostname: 'h', version: '0.1.0' };
  return { type: 'NodePaired', data: { public_key: KEY, public_key_fingerprint: 'SHA256:k', token_sha256, host, paired_at: clock.iso() } };
}

const enrolled = (): NodeEvent => ({
  type: 'NodeEnrolled',
  data: { url: 'http://127.0.0.1:9082', public_key_fingerprint: 'SHA256:k', enrolled_at: clock.iso() },
});
const keys = (): Promise<string> => readFile(join(directory, 'tunnel', 'authorized_keys'), 'utf8');

describe('access of nodes', () => {
  it('follows the events, even in a hub that has just started and whatever file it finds', async () => {
    await new NodeTokenFiles(config).keep('n1', TOKEN);
    await new NodeTokenFiles(config).keep('n1', 'token-that-no-event-names-token-that-no-event');
    await append(offer(60_000), paired(), enrolled());
    await started();
    await until('the key to be published', async () => (await keys()).includes(KEY));
    expect(await keys()).toBe(
      `restrict,port-forwarding,permitopen="127.0.0.1:10100",permitopen="127.0.0.1:10101",permitopen="127.0.0.1:9080",permitlisten="127.0.0.1:9082" ${KEY} node:n1\n`,
    );
    expect(credentials.ofNode('n1')).toEqual({ nodeId: 'n1', url: 'http://127.0.0.1:9082', status: 'enrolled', send: TOKEN, accept: [TOKEN] });
    await until('the other token to be removed', async () => (await readdir(join(directory, 'node-tokens'))).length === 1);
  });

  it('ends with the revoking event, and callers are notified when that takes effect', async () => {
    await new NodeTokenFiles(config).keep('n1', TOKEN);
    await append(offer(60_000), paired(), enrolled());
    const reactor = await started();
    await until('the key to be published', async () => (await keys()).includes(KEY));
    await reactor.published(await append({ type: 'NodeRevoked', data: { revoked_at: clock.iso() } }));
    expect(await keys()).toBe('');
    expect(credentials.ofNode('n1')).toMatchObject({ status: 'revoked', send: null, accept: [] });
    await until('the token to be removed', async () => (await readdir(join(directory, 'node-tokens'))).length === 0);
  });

  it('takes effect once the file can be written', async () => {
    const inTheWay = join(directory, 'tunnel', 'authorized_keys');
    await mkdir(inTheWay, { recursive: true });
    const reactor = await started();
    const position = await append(offer(60_000));
    const told = reactor.published(position);
    await until('the failure to be seen', () => Promise.resolve(credentials.ofNode('n1')?.status === 'not_enrolled_yet'));
    await rmdir(inTheWay);
    await told;
    expect(await keys()).toContain(PAIRING);
  });

  it('ends for a pairing code when it expires, which is recorded', async () => {
    const reactor = await started();
    await reactor.published(await append(offer(1_500)));
    expect(await keys()).toContain(PAIRING);
    await until('the code to have expired', async () => (await keys()) === '');
    const types = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const event of store.read(nodeStream('n1'))) found.push(event.type);
      return found;
    };
    await until('that to be recorded', async () => (await types()).length === 2);
    expect(await types()).toEqual(['NodeEnrolmentStarted', 'NodePairingFailed']);
  });

  it('keeps the line of a used code unchanged, because the answer is sent over its connection', async () => {
    const reactor = await started();
    await reactor.published(await append(offer(60_000)));
    const before = await keys();
    expect(before).toContain(PAIRING);
    await reactor.published(await append(paired()));
    expect(await keys()).toBe(before);
  });

  it('is not granted by a token that another program put there', async () => {
    await new NodeTokenFiles(config).keep('n1', TOKEN);
    const [name = ''] = await readdir(join(directory, 'node-tokens'));
    await writeFile(join(directory, 'node-tokens', name), 'another-token-another-token-another-token\n');
    await append(offer(60_000), paired(), enrolled());
    await started();
    expect(credentials.ofNode('n1')).toMatchObject({ status: 'enrolled', send: null, accept: [] });
  });
});
