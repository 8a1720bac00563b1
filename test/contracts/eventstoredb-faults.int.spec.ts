import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { EventStoreUnavailableError } from '../../src/hub/store/event-store/event-store.port.js';
import { EventStoreDbEventStore, type EventStoreDbStoreOptions } from '../../src/hub/store/event-store/eventstoredb/eventstoredb-event-store.js';
import { isTooOld, openEventStoreDb } from '../../src/hub/store/event-store/eventstoredb/open-eventstoredb.js';
import { decodePair, encodePair } from '../../src/hub/store/event-store/eventstoredb/position-pair.js';
import { failureOf } from '../../src/hub/store/event-store/eventstoredb/store-failure.js';
import { type AppendFault, EventStoreDbStandIn } from '../support/eventstoredb-stand-in.js';
import { Collector, eventToAppend, readAll } from './event-store.contract.js';

jest.setTimeout(60_000);

/** Short times, so that a test waits for a fault to be noticed and no longer. */
const QUICK = { answerMs: 1_000, checkMs: 100, appendPatienceMs: 1_500 };

let server: EventStoreDbStandIn;
let stores: EventStoreDbEventStore[];
let logged: string[];
const log = { log: (line: string) => void logged.push(line), warn: (line: string) => void logged.push(line) };

function open(options: Partial<EventStoreDbStoreOptions> = {}): EventStoreDbEventStore {
  const store = new EventStoreDbEventStore({ url: server.url, caFile: '', ...QUICK, ...options }, log);
  stores.push(store);
  return store;
}

beforeEach(async () => {
  server = await EventStoreDbStandIn.start();
  stores = [];
  logged = [];
});

afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  server.stop();
});

describe('an append to EventStoreDB', () => {
  it.each<AppendFault>(['lose_answer', 'not_leader', 'not_ready', 'timed_out', 'refused'])('is written once through the fault %s', async (fault) => {
    const store = open();
    server.appendFaults.push(fault);
    expect(await store.append('a-1', 'no_stream', [eventToAppend('A')])).toMatchObject({ revision: 0 });
    expect(server.appends).toBe(2);
    expect(await readAll(store, 'a-1')).toHaveLength(1);
    expect(server.batchAppends).toBe(0);
  });

  it('is written once if it is stored after its time limit, and repeated before or after that', async () => {
    const store = open();
    const [early, late] = [eventToAppend('A'), eventToAppend('B')];
    server.appendFaults.push('store_late');
    await store.append('a-1', 'no_stream', [early]);
    server.storeLate();
    server.appendFaults.push('store_late');
    const repeated = store.append('a-1', 0, [late]);
    while (server.appends < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    server.storeLate();
    expect(await repeated).toMatchObject({ revision: 1 });
    expect((await readAll(store, 'a-1')).map(({ id }) => id)).toEqual([early.id, late.id]);
  });

  it('at any revision is not repeated when it may have been stored', async () => {
    const store = open();
    server.appendFaults.push('lose_answer');
    await expect(store.append('a-1', 'any', [eventToAppend('A')])).rejects.toBeInstanceOf(EventStoreUnavailableError);
    expect(await readAll(store, 'a-1')).toHaveLength(1);
  });

  it('fails as unavailable, with the reason, while the credentials are refused', async () => {
    const store = open({ appendPatienceMs: 0 });
    server.appendFaults.push('refused');
    const refused = store.append('a-1', 'no_stream', [eventToAppend('A')]);
    await expect(refused).rejects.toBeInstanceOf(EventStoreUnavailableError);
    await expect(refused).rejects.toThrow(/the server refused the credentials/);
  });

  it('fails on a server that answers nothing, and works when it answers again', async () => {
    const store = open();
    await store.append('a-1', 'no_stream', [eventToAppend('A')]);
    server.frozen = true;
    await expect(store.append('a-1', 0, [eventToAppend('B')])).rejects.toThrow(/no answer within 1000 ms/);
    await expect(readAll(store, 'a-1')).rejects.toBeInstanceOf(EventStoreUnavailableError);
    await expect(store.facts()).rejects.toBeInstanceOf(EventStoreUnavailableError);
    server.frozen = false;
    expect(await store.append('a-1', 0, [eventToAppend('B')])).toMatchObject({ revision: 1 });
  });
});

describe('a read from EventStoreDB', () => {
  it('that is cut off, because another call has given up the connection, does not end as if it were complete', async () => {
    const store = open();
    for (let n = 0; n < 40; n++) await store.append('a-1', n === 0 ? 'no_stream' : n - 1, [eventToAppend('A', { text: 'x'.repeat(100_000) })]);
    const reading = store.read('a-1')[Symbol.asyncIterator]();
    await reading.next();
    server.frozen = true;
    await expect(store.append('b-1', 'no_stream', [eventToAppend('B')])).rejects.toBeInstanceOf(EventStoreUnavailableError);
    const rest = async (): Promise<void> => {
      while ((await reading.next()).done !== true);
    };
    await expect(rest()).rejects.toBeInstanceOf(EventStoreUnavailableError);
  });
});

describe('a subscription to EventStoreDB', () => {
  it('goes on without missing or repeating an event when the server was away', async () => {
    const store = open();
    const collector = new Collector();
    const subscription = store.subscribeToAll({ after: null, handle: collector.handle });
    await store.append('a-1', 'no_stream', [eventToAppend('Before')]);
    await collector.until(() => collector.events.length === 1);
    server.stop();
    await expect(store.append('a-1', 0, [eventToAppend('Lost')])).rejects.toBeInstanceOf(EventStoreUnavailableError);
    await expect(store.head()).rejects.toBeInstanceOf(EventStoreUnavailableError);
    await server.listen();
    for (let revision = 0; revision < 3; revision++) await store.append('a-1', revision, [eventToAppend(`After${revision}`)]);
    await collector.until(() => collector.events.length >= 4);
    await subscription.close();
    expect(collector.events.map(({ type }) => type)).toEqual(['Before', 'After0', 'After1', 'After2']);
    expect(logged.join('\n')).toContain('cannot follow new events');
  });

  it('is replaced when it falls silent', async () => {
    const store = open();
    const collector = new Collector();
    const subscription = store.subscribeToAll({ after: null, handle: collector.handle });
    await store.append('a-1', 'no_stream', [eventToAppend('A')]);
    await collector.until(() => collector.events.length === 1);
    server.silence();
    await store.append('a-1', 0, [eventToAppend('B')]);
    await collector.until(() => collector.events.length === 2);
    await subscription.close();
    expect(logged.join('\n')).toContain('subscribing again');
  });

  it('that reads history begins again when it falls silent', async () => {
    const store = open({ silenceMs: 300 });
    for (let n = 0; n < 1_200; n += 100) {
      const events = Array.from({ length: 100 }, (_, i) => eventToAppend('N', { n: n + i }));
      await store.append('a-1', n === 0 ? 'no_stream' : n - 1, events);
    }
    const collector = new Collector();
    const subscription = store.subscribeToAll({
      after: null,
      batchSize: 100,
      handle: async (batch) => {
        if (collector.batches.length === 2) server.silence();
        await collector.handle(batch);
      },
    });
    await collector.until(() => collector.events.length >= 1_200);
    await subscription.close();
    expect(collector.events.map(({ data }) => data['n'])).toEqual(Array.from({ length: 1_200 }, (_, n) => n));
  });

  it('passes over events of the server, and head is the newest of ours', async () => {
    const store = open();
    const first = await store.append('a-1', 'no_stream', [eventToAppend('A')]);
    server.log.storeOwn(3_000);
    expect(await open().head()).toBe(first.position);
    const second = await store.append('b-1', 'no_stream', [eventToAppend('B')]);
    server.log.storeOwn(50);
    const collector = new Collector();
    const subscription = open().subscribeToAll({ after: null, categories: ['a'], handle: collector.handle });
    await collector.until(() => collector.upTo >= second.position);
    await subscription.close();
    expect(collector.events.map(({ type }) => type)).toEqual(['A']);
  });

  it('refuses a position of another store', () => {
    expect(() => open().subscribeToAll({ after: '0000000000000000042', handle: () => Promise.resolve() })).toThrow(/is not a position of this event store/);
  });
});

describe('a cluster of EventStoreDB', () => {
  it('is read and written through its leader, although a follower was asked that lags behind', async () => {
    const follower = await EventStoreDbStandIn.start({ log: server.log });
    follower.leader = { host: '127.0.0.1', port: server.port };
    follower.lagEvents = 1;
    const store = open({ url: follower.url });
    try {
      await store.append('a-1', 'no_stream', [eventToAppend('A')]);
      expect(await readAll(store, 'a-1')).toHaveLength(1);
      expect(follower.reads).toBe(0);
      const discovering = open({ url: `esdb://127.0.0.1:${follower.port},127.0.0.1:${server.port}?tls=false` });
      expect(await discovering.append('a-1', 0, [eventToAppend('B')])).toMatchObject({ revision: 1 });
    } finally {
      follower.stop();
    }
  });
});

describe('opening EventStoreDB', () => {
  /** Without read models. */
  const pool = { query: () => Promise.resolve({ rows: [] }) } as never;

  it('waits for a server that is not there yet, says so, and names no password', async () => {
    server.log.store('a-1', [{ id: eventToAppend('A').id, type: 'A', contentType: 'application/json', data: Buffer.from('{}'), metadata: Buffer.from('{}') }]);
    server.stop();
    const opening = openEventStoreDb({ url: `esdb://hub:hunter2@127.0.0.1:${server.port}?tls=false`, caFile: '', answerMs: 1_000 }, pool, log);
    while (!logged.some((line) => line.includes('startup is waiting for the event store'))) await new Promise((resolve) => setTimeout(resolve, 10));
    await server.listen();
    stores.push(await opening);
    expect(logged.join('\n')).toContain('the events are in EventStoreDB 23.10.6.0');
    expect(logged.join('\n')).not.toContain('hunter2');
  });

  it('takes credentials and certificates, and recovers when the server accepts the password again', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sendense-certificate-'));
    const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    );
    const tls = { key: readFileSync(key), certificate: readFileSync(certificate), username: 'hub', password: 'p@ss:wörd' };
    const secure = await EventStoreDbStandIn.start({ tls });
    try {
      const store = open({ url: secure.url, caFile: certificate });
      await store.append('a-1', 'no_stream', [eventToAppend('A')]);
      expect(await store.facts()).toMatchObject({ version: '23.10.6.0' });
      tls.password = 'changed';
      await expect(readAll(store, 'a-1')).rejects.toThrow(/refused the credentials/);
      tls.password = 'p@ss:wörd';
      expect(await readAll(store, 'a-1')).toHaveLength(1);
      await expect(readAll(open({ url: secure.url }), 'a-1')).rejects.toBeInstanceOf(EventStoreUnavailableError);
    } finally {
      secure.stop();
      rmSync(directory, { recursive: true });
    }
  });

  it.each([
    ['22.10.5.0', true],
    ['23.6.0', true],
    ['23.10.6.0', false],
    ['24.2.0', false],
  ])('finds version %s too old: %s', (version, old) => {
    expect(isTooOld(version)).toBe(old);
  });
});

describe('positions and errors of EventStoreDB', () => {
  it('encodes positions so that they compare as text', () => {
    const pairs = [
      { commit: 9n, prepare: 9n },
      { commit: 10n, prepare: 0n },
      { commit: 10n, prepare: 10n },
      { commit: 9_223_372_036_854_775_807n, prepare: 1n },
    ];
    const encoded = pairs.map(encodePair);
    expect([...encoded].sort()).toEqual(encoded);
    expect(encoded.map(decodePair)).toEqual(pairs);
  });

  it.each([
    [{ type: 'wrong-expected-version' }, 'conflict'],
    [{ type: 'not-leader' }, 'not_leader'],
    [{ type: 'access-denied' }, 'refused'],
    [{ type: 'unknown', message: 'Server Is Not Ready' }, 'away'],
    [{ type: 'timeout' }, 'away'],
    [Object.assign(new Error('14 UNAVAILABLE'), { code: 14 }), 'away'],
    [new Error('Failed to discover after 10 attempts.'), 'away'],
    [{ code: 3, message: 'INVALID_ARGUMENT' }, 'bad_input'],
    ['a text', 'away'],
  ])('classifies %j as %s', (error, expected) => {
    expect(failureOf(error)).toBe(expected);
  });
});
