import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Global, Module, Query } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { HubApi } from '../../src/cli/api/hub-api.client.js';
import { ledgerCheck } from '../../src/cli/validate/check-hub/ledger.check.js';
import { type CheckResult, runCheck } from '../../src/cli/validate/model/check.plan.js';
import { AuditModule } from '../../src/hub/history/audit/audit.module.js';
import { LedgerModule } from '../../src/hub/history/ledger/ledger.module.js';
import { HubConfig } from '../../src/hub/hub.config.js';
import { HealthModule } from '../../src/hub/operations/health/health.module.js';
import { MetricsModule } from '../../src/hub/operations/metrics/metrics.module.js';
import { Projections } from '../../src/hub/store/postgres/projections.js';
import { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { readCheckpoint } from '../../src/lib/ledger/checkpoint.js';
import { configureLogging } from '../../src/lib/logging/logger.js';
import type { Manifest } from '../../src/storage/repository-files/manifest.js';
import { API_TOKEN } from '../support/http-app.js';
import { until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { FORMAT_2 } from '../support/sealed-disks.js';
import { appendGoldenHistory, type QueryApp, startQueryApp } from '../support/query-app.js';

let directory: string;
let original: TestDatabase;
let dump: TestDatabase;
let running: QueryApp | null = null;
let logged = '';

@Controller('repositories')
class RepositoriesOfTest {
  @Get()
  list(@Query('limit') _limit: string): object {
    return { repositories: [{ name: 'main', path: join(directory, 'repository') }] };
  }
}

/** The checkpoint of the whole history, which a manifest has. */
let newest: string;
const file = (): string => join(directory, 'ledger.checkpoint');

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-put-back-'));
  configureLogging({ level: 'error', format: 'json', program: 'test', to: { write: (record: string) => (logged += record) } });
  original = await createTestDatabase();
  const hub = await start(original);
  const position = await appendGoldenHistory(hub.store);
  await hub.app.get(ReadModels, { strict: false }).waitFor(position);
  await seal(1, await checkpoint());
  await stop();
  dump = await createTestDatabase({ migrated: false, copyOf: original.databaseUrl });
});

afterAll(async () => {
  await stop();
  configureLogging({ level: 'warn', format: 'json', program: 'sendense' });
  await original.drop();
  await dump.drop();
  await rm(directory, { recursive: true, force: true });
});

async function start({ databaseUrl }: TestDatabase): Promise<QueryApp> {
  const config = Object.assign(new HubConfig(), { dataDirectory: directory, sharedDirectory: directory });

  @Global()
  @Module({ providers: [{ provide: HubConfig, useValue: config }], exports: [HubConfig] })
  class ConfigOfTest {}

  await stop();
  logged = '';
  running = await startQueryApp({
    databaseUrl,
    controllers: [RepositoriesOfTest],
    imports: [ConfigOfTest, AuditModule, LedgerModule, HealthModule, MetricsModule],
  });
  return running;
}

async function stop(): Promise<void> {
  await running?.close();
  running = null;
}

function hub(): QueryApp {
  if (running === null) throw new Error('no hub runs');
  return running;
}

async function get(path: string, method = 'GET'): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await fetch(`${await hub().app.getUrl()}/api/v1${path}`, { method, headers: { Authorization: `Bearer ${API_TOKEN}` } });
  return { status: answer.status, text: await answer.text() };
}

/** @returns the note @throws Error if the hub signs none */
async function checkpoint(): Promise<string> {
  const { status, text } = await get('/ledger/checkpoint');
  if (status !== 200) throw new Error(text);
  return text;
}

/** Records an event. */
async function rotateKey(): Promise<void> {
  expect((await get('/ledger/rotate-key', 'POST')).status).toBe(200);
  await hub().app.get(ReadModels, { strict: false }).current();
}

async function health(): Promise<unknown> {
  const { status, text } = await get('/health/ready');
  expect(status).toBe(200);
  return (JSON.parse(text) as { checks: { name: string }[] }).checks.find(({ name }) => name === 'ledger');
}

async function validated(): Promise<CheckResult> {
  return runCheck(ledgerCheck(new HubApi(await hub().app.getUrl(), API_TOKEN)));
}

/** A restore point whose manifest has this checkpoint. */
async function seal(number: 1 | 2, note: string): Promise<void> {
  const time = '2026-11-21T10:15:00.000Z';
  const manifest: Manifest = {
    ...{
      format_version: 1,
      hub_id: 'h',
      repository_id: 'r',
      backup_id: `b-${number}`,
      backup_type: 'full',
      full_reason: 'first_backup',
      chain_id: 'c',
      parent: null,
    },
    vm: { vm_id: 'v', name: 'vm', source: 'image', source_ref: '/images/vm', node_id: 'n' },
    ...{ instant: time, started_at: time, sealed_at: time },
    disks: [
      {
        ...{
          disk_id: 0,
          disk_key: 'disk0.qcow2',
          file: 'disk-0.qcow2',
          virtual_size_bytes: 1,
          source_format: 'qcow2',
          change_id: null,
          parent_change_id: null,
        },
        ...{ file_size_bytes: 1, sha256: '0'.repeat(64), mtime_ns: '1', backing_file: null, blocks: null, compression: null },
      },
    ],
    ...{ definition: null, event_position: '1', ledger_checkpoint: note },
    ...FORMAT_2,
  };
  const place = join(directory, 'repository', 'vm-22220001', `20261121T101500Z-full-0000000${number}`);
  await mkdir(place, { recursive: true });
  await writeFile(join(place, 'manifest.json'), JSON.stringify(manifest));
}

const refused = { name: 'ledger', required: false, status: 'down', code: 'checkpoint_refused' };

describe('a hub whose database is put back', () => {
  it('agrees with itself and its repositories before', async () => {
    await start(original);
    await rotateKey();
    newest = await checkpoint();
    expect(await readFile(file(), 'utf8')).toBe(newest);
    await seal(2, newest);
    expect(await validated()).toMatchObject({ status: 'pass', detail: expect.stringContaining('1 repositories agree') });
    expect(await health()).toMatchObject({ status: 'up' });
    expect((await get('/metrics')).text).toMatch(/^sendense_ledger_checkpoint_refused 0$/m);
    expect(logged).toBe('');
  });

  it('says so at its start, and signs no checkpoint, also when it has as many events again', async () => {
    const { size } = readCheckpoint(newest);
    await start(dump);
    await until('the hub to say so', () => Promise.resolve(logged.includes(`has ${size - 1} events, but the last checkpoint`)));
    expect(logged).toContain('"level":"error"');
    expect(await health()).toMatchObject(refused);
    expect(await get('/ledger/checkpoint')).toMatchObject({ status: 409, text: expect.stringContaining('the database was put back') });
    expect(await validated()).toMatchObject({ status: 'fail', detail: expect.stringContaining('the database was put back') });

    await rotateKey();
    for (let events = size; events <= size + 1; events++) {
      expect(await get('/ledger/checkpoint')).toMatchObject({ status: 409, text: expect.stringContaining('does not begin with') });
      await rotateKey();
    }
    const { text: metrics } = await get('/metrics');
    expect(metrics).toMatch(/^sendense_ledger_checkpoint_refused 1$/m);
    expect(metrics).toMatch(/^sendense_ledger_checkpoint_failures_total [3-9]$/m);
    expect(metrics).toMatch(new RegExp(`^sendense_ledger_checkpoint_events ${size}$`, 'm'));
    expect(await readFile(file(), 'utf8')).toBe(newest);
    expect(
      logged
        .trim()
        .split('\n')
        .filter((line) => line.includes('"Ledger"')),
    ).toHaveLength(1);
  });

  it('signs again once an operator has moved the last checkpoint away, which the manifests contradict', async () => {
    await rename(file(), join(directory, 'evidence'));
    expect(await health()).toMatchObject({ status: 'up' });
    expect(readCheckpoint(await checkpoint()).size).toBeGreaterThan(readCheckpoint(newest).size);
    expect(await validated()).toMatchObject({
      status: 'fail',
      detail: expect.stringContaining('does not begin with'),
      remedy: expect.stringContaining('dump'),
    });
  });

  it('signs nothing while the last checkpoint cannot be read', async () => {
    await writeFile(file(), 'something else');
    expect(await get('/ledger/checkpoint')).toMatchObject({ status: 409, text: expect.stringContaining('does not hold a checkpoint') });
    await rm(file());
  });

  it('fails the check against the manifests if it has fewer events and no last checkpoint', async () => {
    await stop();
    const older = await createTestDatabase({ migrated: false, copyOf: original.databaseUrl });
    try {
      await start(older);
      await seal(2, newest.replace(/^\d+$/m, String(readCheckpoint(newest).size + 1)));
      expect(await validated()).toMatchObject({ status: 'fail', detail: expect.stringContaining('its history was put back') });
      await seal(2, newest);
      expect(await validated()).toMatchObject({ status: 'pass' });
    } finally {
      await stop();
      await older.drop();
      await rm(file());
    }
  });
});

describe('a hub whose events are rewritten, and its ledger with them', () => {
  it('signs no checkpoint, and fails the check against the manifests without the last one too', async () => {
    await start(original);
    expect(readCheckpoint(await checkpoint())).toEqual(readCheckpoint(newest));
    for (const statement of [
      'alter table event_store.events disable trigger user',
      `update event_store.events set data = data || '{"more": true}' where position = 3`,
    ]) {
      await hub().app.get(DataSource).query(statement);
    }
    await (
      await hub().app.get(Projections, { strict: false }).rebuild('ledger_tiles')
    ).done;
    expect(await get('/ledger/checkpoint')).toMatchObject({ status: 409, text: expect.stringContaining('rewritten') });
    expect(await health()).toMatchObject(refused);
    await rm(file());
    expect(await validated()).toMatchObject({ status: 'fail', detail: expect.stringContaining('it was rewritten') });
  });
});
