import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Global, Module } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ledgerCommand } from '../../src/cli/ledger/ledger.program.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import { HubConfig } from '../../src/hub/hub.config.js';
import { AuditModule } from '../../src/hub/history/audit/audit.module.js';
import { LedgerModule } from '../../src/hub/history/ledger/ledger.module.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { openCheckpoint } from '../../src/lib/ledger/checkpoint.js';
import { leafHash, verifyConsistency, verifyInclusion } from '../../src/lib/ledger/merkle-tree.js';
import { parseVerifier } from '../../src/lib/ledger/signed-note.js';
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

  it('agrees with an export, also after the key was rotated, until the owner of the database changes the past', async () => {
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

    await sql(
      'alter table event_store.events disable trigger user',
      `update event_store.events set metadata = jsonb_set(metadata, '{actor}', '"api:somebody-else"') where position = 42`,
    );
    expect(await verify('changed')).toBe(1);
    expect(await json('/audit/verify')).toMatchObject({ verified: false, first_disagreement: { leaf_index: 41, position: '0000000000000000042' } });

    await sql('delete from event_store.events where position > 100');
    expect(await verify('cut')).toBe(1);
  });
});
