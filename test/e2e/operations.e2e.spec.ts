import { chmod, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { ledgerCommand } from '../../src/cli/ledger/ledger.program.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { openCheckpoint } from '../../src/lib/ledger/checkpoint.js';
import { parseVerifier } from '../../src/lib/ledger/signed-note.js';
import { BackupClient, listed } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(60_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

interface AuditEvent {
  readonly position: string;
  readonly stream: string;
  readonly type: string;
  readonly correlation_id: string;
  readonly data: unknown;
}
interface Projection {
  readonly name: string;
  readonly state: string;
  readonly generation: number;
  readonly position: string | null;
  readonly head_position: string | null;
  readonly rebuild: unknown;
}

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let backup: BackupResponse;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'vm'), [{ file: 'disk0.qcow2', mib: 8 }]);
  await client.registerVm('vm', vm.folder);
  backup = await client.backUp('vm', repository, 'full');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function text(path: string, accept: string): Promise<string> {
  const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
  const response = await fetch(`${system.url()}/api/v1${path}`, { headers: { authorization: `Bearer ${token}`, accept } });
  expect(response.status).toBe(200);
  return response.text();
}

function named({ stream, type, position }: AuditEvent): string {
  return `${position} ${stream} ${type}`;
}

describe('the audit log', () => {
  it('finds all that followed from one request by its correlation, in every context, and exports it line by line', async () => {
    const [first] = await client.events(backup.backup_id);
    const path = `/audit/events?correlation_id=${first?.correlation_id ?? ''}&order=oldest_first&limit=1000`;
    const { events } = (await system.api<{ events: AuditEvent[] }>('GET', path)).body;
    expect(new Set(events.map(({ stream }) => stream.slice(0, stream.indexOf('-'))))).toEqual(new Set(['backup', 'nbdPorts', 'nbdExport', 'chain']));
    const all = (await system.api<{ events: AuditEvent[] }>('GET', '/audit/events?order=oldest_first&limit=1000')).body.events;
    const mentions = all.filter(({ stream, data }) => `${stream} ${JSON.stringify(data)}`.includes(backup.backup_id));
    const exports = new Set(mentions.map(({ stream }) => stream).filter((stream) => stream.startsWith('nbdExport-')));
    const ofBackup = all.filter((event) => mentions.includes(event) || exports.has(event.stream));
    expect(ofBackup.map(({ type }) => type)).toEqual(expect.arrayContaining(['SnapshotTaken', 'DiskTransferCompleted', 'SnapshotReleased']));
    expect(events.map(named)).toEqual(ofBackup.map(named));
    const lines = (await text(path, 'application/x-ndjson')).trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as AuditEvent).position)).toEqual(events.map(({ position }) => position));
  });

  it('is paged by cursor without a gap, and shows a stream as it was stored', async () => {
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: { events: AuditEvent[]; next_cursor: string | null } = (
        await system.api<{ events: AuditEvent[]; next_cursor: string | null }>(
          'GET',
          `/audit/events?category=backup&limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`,
        )
      ).body;
      seen.push(...page.events.map(({ position }) => position));
      cursor = page.next_cursor;
    }
    const stream = (await system.api<{ events: AuditEvent[] }>('GET', `/audit/streams/backup-${backup.backup_id}?limit=1000`)).body.events;
    expect(seen.reverse()).toEqual(stream.map(({ position }) => position));
    expect(await client.problem('GET', '/audit/streams/backup-nobody')).toMatchObject({ status: 404, code: 'stream_not_found' });
  });
});

describe('read models', () => {
  it('are built anew beside the live ones, which answer all the time and the same afterwards', async () => {
    const list = async (): Promise<Projection[]> => (await system.api<{ projections: Projection[] }>('GET', '/projections')).body.projections;
    const before = await list();
    for (const { name, generation } of before) {
      expect(await system.api('POST', `/projections/${name}/rebuild`)).toMatchObject({
        status: 202,
        body: { name, generation: generation + 1, state: 'rebuilding' },
      });
      const rebuilt = await until(`projection ${name} to be rebuilt`, async () => {
        expect(await client.get(backup.backup_id)).toEqual(backup);
        return (await list()).find((projection) => projection.name === name && projection.generation === generation + 1 && projection.rebuild === null);
      });
      expect(rebuilt).toMatchObject({ state: 'live', position: rebuilt.head_position });
    }
    expect((await system.api<{ backups: BackupResponse[] }>('GET', '/backups')).body.backups).toEqual([listed(backup)]);
    expect(await client.problem('POST', '/projections/nothing/rebuild')).toMatchObject({ status: 404, code: 'projection_not_found' });
  });

  it('are waited for by those who just wrote, and by nobody else', async () => {
    const { headers } = await client.start('vm', backup.repository_id, 'incremental');
    const position = (headers.get('etag') ?? '').replaceAll('"', '');
    expect((await system.api<{ backups: BackupResponse[] }>('GET', `/backups?after=${position}`)).body.backups).toHaveLength(2);
    await client.atRest((await client.newest('vm')).backup_id);
    expect(await client.problem('GET', `/backups?after=${'9'.repeat(19)}`)).toMatchObject({ status: 400, code: 'validation_failed' });
    expect((await client.problem('GET', '/backups?after=%20')).status).toBe(400);
  });
});

describe('the ledger', () => {
  async function verify(...options: readonly string[]): Promise<{ readonly code: number; readonly problems: readonly object[]; readonly checkpoints: number }> {
    const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    try {
      const code = await runCommand(ledgerCommand({}), ['verify', '--json', ...options]);
      const report = JSON.parse(String(write.mock.calls.at(-1)?.[0])) as { problems: object[]; checkpoints: number };
      return { code, problems: report.problems, checkpoints: report.checkpoints };
    } finally {
      write.mockRestore();
    }
  }

  it('is in the manifest of each restore point, and tells if the repository was put back or the manifest was changed', async () => {
    const lines = await text('/audit/events?order=oldest_first', 'application/x-ndjson');
    const events = join(system.directory, 'events.ndjson');
    await writeFile(events, lines);
    const { key } = JSON.parse(await text('/ledger/key', 'application/json')) as { key: string };
    const folder = join(system.repositoryPath, (await client.newest('vm')).folder ?? '');
    const manifest = join(folder, 'manifest.json');
    const sealed = await readFile(manifest, 'utf8');
    const { ledger_checkpoint } = JSON.parse(sealed) as { ledger_checkpoint: string };
    expect(openCheckpoint(ledger_checkpoint, [parseVerifier(key)]).size).toBeGreaterThan(0);

    const repository = ['--repository', system.repositoryPath, '--key', key];
    expect(await verify(...repository)).toEqual({ code: 0, problems: [], checkpoints: 2 });
    expect(await verify(...repository, '--events', events)).toEqual({ code: 0, problems: [], checkpoints: 2 });

    const first_event = lines.split('\n').findLastIndex((line) => line.includes('"RestorePointSealed"'));
    await rename(folder, join(system.directory, 'away'));
    expect(await verify(...repository, '--events', events)).toMatchObject({ code: 1, problems: [{ kind: 'restore_point_missing', first_event }] });
    await rename(join(system.directory, 'away'), folder);

    const { ledger_checkpoint: _, ...without } = JSON.parse(sealed) as Record<string, unknown>;
    await chmod(manifest, 0o644);
    await writeFile(manifest, JSON.stringify(without));
    expect(await verify(...repository, '--events', events)).toMatchObject({ code: 1, problems: [{ kind: 'restore_point_differs', first_event }] });
    await writeFile(manifest, sealed);
    expect(await verify(...repository, '--events', events)).toMatchObject({ code: 0 });
  });
});

describe('metrics and documentation', () => {
  it('tell of requests, projections and storage in the format of Prometheus', async () => {
    const metrics = await text('/metrics', '*/*');
    for (const name of ['sendense_projection_lag_seconds', 'sendense_projection_halted', 'sendense_projection_events_total'])
      expect(metrics).toMatch(new RegExp(`^# TYPE ${name} `, 'm'));
    expect(metrics).toMatch(/^sendense_projection_halted\{projection="backups"\} 0$/m);
    expect(metrics).not.toMatch(/NaN|undefined/);
  });

  it('are ready, and are guarded', async () => {
    expect((await fetch(`${system.url()}/api/v1/health/ready`)).status).toBe(200);
    for (const path of ['/metrics', '/backups', '/audit/events']) expect((await fetch(`${system.url()}/api/v1${path}`)).status).toBe(401);
  });
});
