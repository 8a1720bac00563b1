import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Global, Module } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ledgerCommand } from '../../src/cli/ledger/ledger.program.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import { tileKey } from '../../projections/ledger-tiles/ledger-tiles.read-model.js';
import { HubConfig } from '../../src/hub/hub.config.js';
import { AuditModule } from '../../src/hub/history/audit/audit.module.js';
import { LedgerModule } from '../../src/hub/history/ledger/ledger.module.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { historyOf } from '../../src/hub/store/event-store/history-of.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { openCheckpoint, signCheckpoint } from '../../src/lib/ledger/checkpoint.js';
import type { Problem } from '../../src/lib/ledger/history-check.js';
import { leafHashOf } from '../../src/lib/ledger/ledger-leaf.js';
import { GrowingTree, leafHash, verifyConsistency, verifyInclusion } from '../../src/lib/ledger/merkle-tree.js';
import { parseVerifier } from '../../src/lib/ledger/signed-note.js';
import { TILE_WIDTH } from '../../src/lib/ledger/tiles.js';
import { API_TOKEN } from '../support/http-app.js';
import { missingInOpenApi } from '../support/openapi-complete.js';
import { appendGoldenHistory, type QueryApp, startQueryApp } from '../support/query-app.js';

let directory: string;
let running: QueryApp;
let base: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-ledger-'));
  const config = Object.assign(new HubConfig(), { dataDirectory: directory, sharedDirectory: directory });

  @Global()
  @Module({ providers: [{ provide: HubConfig, useValue: config }], exports: [HubConfig] })
  class ConfigOfTest {}

  running = await startQueryApp({ imports: [ConfigOfTest, AuditModule, LedgerModule] });
  base = await running.app.getUrl();
  const position = await appendGoldenHistory(running.store);
  await running.app.get(ReadModels, { strict: false }).waitFor(position);
});

afterAll(async () => {
  await running.close();
  await rm(directory, { recursive: true, force: true });
});

async function get(path: string, options: { readonly method?: string; readonly accept?: string } = {}): Promise<Response> {
  const headers = { Authorization: `Bearer ${API_TOKEN}`, ...(options.accept === undefined ? {} : { Accept: options.accept }) };
  return fetch(`${base}/api/v1${path}`, { method: options.method ?? 'GET', headers });
}

async function json(path: string): Promise<Record<string, unknown>> {
  return (await (await get(path)).json()) as Record<string, unknown>;
}

async function key(): Promise<string> {
  return String((await json('/ledger/key'))['key']);
}

async function exported(name: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, await (await get('/audit/events?order=oldest_first', { accept: 'application/x-ndjson' })).text());
  return file;
}

async function sql(...statements: readonly string[]): Promise<void> {
  for (const statement of statements) await running.app.get(DataSource).query(statement);
}

const hashes = (proof: unknown): Buffer[] => (proof as string[]).map((hash) => Buffer.from(hash, 'base64'));

describe('the ledger of a hub', () => {
  it('has a signed checkpoint, whose key is private, and tiles with the hashes of all events', async () => {
    const note = await (await get('/ledger/checkpoint')).text();
    const { size } = openCheckpoint(note, [parseVerifier(await key())]);
    expect(size).toBeGreaterThan(100);
    expect((await stat(join(directory, 'ledger.key'))).mode & 0o777).toBe(0o600);
    const tile = await get(`/ledger/tile/1/000.p/${Math.floor(size / 256) || 1}`);
    expect([200, 404]).toContain(tile.status);
    const leaves = Buffer.from(await (await get(`/ledger/tile/0/000${size >= 256 ? '' : `.p/${size}`}`)).arrayBuffer());
    expect(leaves.length).toBe(Math.min(size, 256) * 32);
    for (const path of ['0/0', '0/999', '70/000', '0/x000/000', '0/000.p/300']) expect((await get(`/ledger/tile/${path}`)).status).toBe(404);
  });

  it('proves each event, and that it continues what it was before', async () => {
    const { events } = (await json('/audit/events?limit=3')) as { events: { event_id: string }[] };
    for (const { event_id } of events) {
      const answer = await json(`/ledger/proofs/inclusion?event_id=${event_id}`);
      const { size, root } = openCheckpoint(String(answer['checkpoint']), [parseVerifier(await key())]);
      const leaf = leafHash(Buffer.from(String(answer['leaf'])));
      expect(verifyInclusion(leaf, Number(answer['leaf_index']), size, hashes(answer['proof']), root)).toBe(true);
    }
    const { size, root } = openCheckpoint(await (await get('/ledger/checkpoint')).text(), [parseVerifier(await key())]);
    const first = Buffer.from(await (await get('/ledger/tile/0/000.p/1')).arrayBuffer());
    const { proof } = await json(`/ledger/proofs/consistency?from=1&to=${size}`);
    expect(verifyConsistency(1, size, first, root, hashes(proof))).toBe(true);
    expect((await get(`/ledger/proofs/consistency?from=1&to=${size + 9}`)).status).toBe(409);
    expect((await get('/ledger/proofs/consistency?from=2&to=1')).status).toBe(400);
    expect((await get('/ledger/proofs/inclusion?event_id=0199a3c0-0001-7000-8000-00000000dead')).status).toBe(404);
  });

  it('documents its routes', async () => {
    const document = (await (await fetch(`${base}/api/openapi.json`, { headers: { Authorization: `Bearer ${API_TOKEN}` } })).json()) as Parameters<
      typeof missingInOpenApi
    >[0];
    expect(Object.keys(document.paths).filter((path) => path.includes('/ledger/')).length).toBe(8);
    expect(missingInOpenApi(document)).toEqual([]);
  });

  it('agrees with an export, also after the key was rotated', async () => {
    const trusted = await key();
    const checkpoint = join(directory, 'kept.txt');
    const verify = async (name: string): Promise<number> =>
      runCommand(ledgerCommand({}), ['verify', '--events', await exported(name), '--checkpoint', checkpoint, '--key', trusted]);
    const rotated = (await (await get('/ledger/rotate-key', { method: 'POST' })).json()) as { key: string };
    expect(await key()).toBe(rotated.key);
    expect(rotated.key).not.toBe(trusted);
    await running.app.get(ReadModels, { strict: false }).current();
    const kept = await (await get('/ledger/checkpoint')).text();
    await writeFile(checkpoint, kept);
    expect(await verify('sound')).toBe(0);
    expect(await json('/audit/verify')).toMatchObject({ verified: true, first_disagreement: null });
  });
});

/** Number of events between two kept checkpoints. */
const BETWEEN_CHECKPOINTS = 20;
const POSITION = 42;
const TAIL = 100;
const OF_POSITION = `log_position = lpad('${POSITION}', 19, '0')`;

/** What the owner of the database does; what a check of an export against the kept checkpoints calls it; and the number of the first event that differs. */
const ATTACKS: readonly (readonly [attack: string, statements: readonly string[], offline: RegExp, first: number | 'beginning of the stream'])[] = [
  [
    'the actor of an event is changed',
    [`update event_store.events set metadata = jsonb_set(metadata, '{actor}', '"api:somebody-else"') where position = ${POSITION}`],
    /^events_differ$/,
    POSITION - 1,
  ],
  [
    'the time of an event is changed',
    [`update event_store.events set recorded_at = recorded_at - interval '1 day' where position = ${POSITION}`],
    /^events_differ$/,
    POSITION - 1,
  ],
  ['the first event is changed', [`update event_store.events set data = data || '{"more": true}' where position = 1`], /^events_differ$/, 0],
  ['an event is deleted', [`delete from event_store.events where position = ${POSITION}`], /^(events_differ|event_out_of_order)$/, POSITION - 1],
  [
    'a whole stream is deleted',
    [`delete from event_store.events where stream = (select stream from event_store.events where position = ${POSITION})`],
    /^events_differ$/,
    'beginning of the stream',
  ],
  [
    'an event is replaced by one of another stream',
    [`update event_store.events set stream = 'vm-forged', revision = 0, id = gen_random_uuid() where position = ${POSITION}`],
    /^(events_differ|event_out_of_order)$/,
    POSITION - 1,
  ],
  [
    'two events change places',
    [
      `update event_store.events set position = -position where position in (${POSITION}, ${POSITION + 1})`,
      `update event_store.events set position = ${2 * POSITION + 1} + position where position < 0`,
    ],
    /^(events_differ|event_out_of_order)$/,
    POSITION - 1,
  ],
  ['the tail is cut', [`delete from event_store.events where position > ${TAIL}`], /^events_missing$/, TAIL],
  ['the tail is written again', [`update event_store.events set id = gen_random_uuid() where position > ${TAIL}`], /^events_differ$/, TAIL],
];

/** With all the rights of the owner of the database. Each attack is undone before the next, but for the last. */
describe('a history that the owner of its database rewrites', () => {
  let kept: readonly string[];
  let trusted: string;
  let beginningOfStream: number;

  beforeAll(async () => {
    trusted = await key();
    const tree = new GrowingTree();
    const signer = createPrivateKey(await readFile(join(directory, 'ledger.key')));
    const files: Promise<string>[] = [];
    for await (const events of historyOf(running.store, null, await running.store.head())) {
      for (const event of events) {
        if (event.position.endsWith(`0${POSITION}`)) beginningOfStream = events.findIndex(({ stream }) => stream === event.stream);
        tree.append(leafHashOf(event));
        if (tree.size % BETWEEN_CHECKPOINTS === 0) files.push(written(`kept-${tree.size}`, note(tree, signer)));
      }
    }
    files.push(written('kept-newest', note(tree, signer)));
    kept = await Promise.all(files);
    await sql('alter table event_store.events disable trigger user', 'create table public.genuine as table event_store.events');
  });

  async function restore(): Promise<void> {
    await sql('truncate event_store.events', 'insert into event_store.events select * from public.genuine');
  }

  function note(tree: GrowingTree, signer: KeyObject): string {
    return signCheckpoint({ origin: parseVerifier(trusted).name, size: tree.size, root: tree.root() }, signer);
  }

  async function written(name: string, text: string): Promise<string> {
    const file = join(directory, name);
    await writeFile(file, text);
    return file;
  }

  /** Of a fresh export. */
  async function problems(...checkpoints: readonly string[]): Promise<readonly Problem[]> {
    const file = await exported('events');
    const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    try {
      const named = checkpoints.flatMap((checkpoint) => ['--checkpoint', checkpoint]);
      const code = await runCommand(ledgerCommand({}), ['verify', '--events', file, '--key', trusted, '--json', ...named]);
      const report = JSON.parse(String(write.mock.calls.at(-1)?.[0])) as { problems: readonly Problem[] };
      expect(code).toBe(report.problems.length === 0 ? 0 : 1);
      return report.problems;
    } finally {
      write.mockRestore();
    }
  }

  it('agrees with all checkpoints before', async () => {
    expect(await problems(...kept)).toEqual([]);
  });

  it.each(ATTACKS)('is found when %s, with the place', async (_attack, statements, offline, where) => {
    const first = where === 'beginning of the stream' ? beginningOfStream : where;
    await sql(...statements);
    const found = await problems(...kept);
    const [named] = found.filter(({ kind }) => offline.test(kind));
    if (named === undefined) throw new Error(`it found ${JSON.stringify(found)}`);
    const from = named.first_event ?? -1;
    expect([from <= first, (named.last_event ?? from) >= first, first - from < BETWEEN_CHECKPOINTS]).toEqual([true, true, true]);
    expect(await json('/audit/verify')).toMatchObject({ verified: false, first_disagreement: { leaf_index: first } });
    await restore();
    expect(await json('/audit/verify')).toMatchObject({ verified: true, first_disagreement: null });
  });

  it('is found by the kept checkpoints alone when the ledger in the database is rewritten with it, and signed again', async () => {
    const change = `data = data || '{"more": true}'`;
    await sql(
      'create table public.tiles as table read_models.ledger_tiles',
      'create table public.log as table read_models.audit_events',
      `update event_store.events set ${change} where position = ${POSITION}`,
      `update read_models.audit_events set ${change} where ${OF_POSITION}`,
    );
    const changed: RecordedEvent[] = [];
    for await (const events of historyOf(running.store, null, await running.store.head())) changed.push(...events);
    const leaves = changed.map(leafHashOf);
    const rewrite = async (level: number, index: number, hashes: readonly Buffer[]): Promise<unknown> =>
      running.app
        .get(DataSource)
        .query('update read_models.ledger_tiles set hashes = $1 where tile = $2', [Buffer.concat(hashes).toString('base64'), tileKey(level, index)]);
    const roots: Buffer[] = [];
    for (let from = 0; from < leaves.length; from += TILE_WIDTH) {
      const tile = leaves.slice(from, from + TILE_WIDTH);
      await rewrite(0, from / TILE_WIDTH, tile);
      const tree = new GrowingTree();
      for (const leaf of tile) tree.append(leaf);
      if (tile.length === TILE_WIDTH) roots.push(tree.root());
    }
    await rewrite(1, 0, roots);
    expect(await json('/audit/verify')).toMatchObject({ verified: true, first_disagreement: null });
    expect(await problems(...kept)).toMatchObject([{ kind: 'events_differ', first_event: 40, last_event: 59 }]);
    expect((await get('/ledger/checkpoint')).status).toBe(409);
    // An attacker with the hub's account removes the record of what it has signed.
    await rm(join(directory, 'ledger.checkpoint'));
    const forged = await written('forged', await (await get('/ledger/checkpoint')).text());
    expect(await problems(...kept, forged)).toContainEqual(expect.objectContaining({ kind: 'checkpoint_contradicts' }));
    expect(await problems(forged)).toEqual([]);
    await rm(join(directory, 'ledger.checkpoint'));
    await restore();
    await sql('delete from read_models.ledger_tiles', 'insert into read_models.ledger_tiles select * from public.tiles');
    await sql(`update read_models.audit_events set data = (select data from public.log where ${OF_POSITION}) where ${OF_POSITION}`);
  });

  it('is not proven by a checkpoint that another key has signed', async () => {
    const forged = await written('by-another', note(new GrowingTree(), generateKeyPairSync('ed25519').privateKey));
    expect(await problems(...kept, forged)).toMatchObject([{ kind: 'checkpoint_untrusted' }]);
  });

  it('is found when the audit log shows another event than was recorded, or none', async () => {
    const first_disagreement = { leaf_index: POSITION - 1, detail: expect.stringContaining('audit log') };
    for (const statement of [
      `update read_models.audit_events set actor = 'api:somebody-else' where ${OF_POSITION}`,
      `delete from read_models.audit_events where ${OF_POSITION}`,
    ]) {
      await sql(statement);
      expect(await json('/audit/verify')).toMatchObject({ verified: false, first_disagreement });
      expect(await problems(...kept)).toEqual([]);
    }
    await sql(`insert into read_models.audit_events select * from public.log where ${OF_POSITION}`);
    expect(await json('/audit/verify')).toMatchObject({ verified: true, first_disagreement: null });
  });

  it('is found when an event is inserted, which makes the newest one look new to the ledger', async () => {
    await sql(
      `update event_store.events set position = -position where position >= ${POSITION}`,
      'update event_store.events set position = 1 - position where position < 0',
      `insert into event_store.events select ${POSITION}, 'vm-forged', 0, gen_random_uuid(), type, 'vm', data, metadata, recorded_at
       from event_store.events where position = ${POSITION - 1}`,
    );
    expect(await problems(...kept)).toMatchObject([{ kind: 'events_differ', first_event: 40, last_event: 59 }]);
    expect(await json('/audit/verify')).toMatchObject({ verified: false, first_disagreement: { leaf_index: POSITION - 1 } });
  });
});
