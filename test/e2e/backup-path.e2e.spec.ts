import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import type { StreamEventResponse } from '../../src/hub/operations/http/event-history.js';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { nbdUri } from '../../src/lib/nbd/nbd-uri.js';
import { BackupClient, listed, filesBelow } from '../support/backup-client.js';
import { HubSystem } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';
import { IS_LONG } from '../support/long-proof.js';

jest.setTimeout(120_000);
const MIB = 1024 * 1024;
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let repository: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

afterEach(async () => {
  await gates.openAll();
  await client.requireNothingHeld();
});

async function newVm(name: string, disks: Parameters<typeof ImageVm.create>[1]): Promise<ImageVm> {
  const vm = await ImageVm.create(join(system.imageRoot, name), disks);
  await client.registerVm(name, vm.folder);
  return vm;
}

async function copyOf(vm: ImageVm): Promise<ReadonlyMap<string, string>> {
  return vm.copyTo(join(system.directory, 'copies'));
}

async function requireRestorable(backup: BackupResponse, copies: ReadonlyMap<string, string>): Promise<void> {
  expect(backup.disk_results).toHaveLength(copies.size);
  for (const disk of backup.disk_results) await requireSameContent(copies.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
}

describe('a VM with several disks', () => {
  const backups: BackupResponse[] = [];
  const instants: ReadonlyMap<string, string>[] = [];
  let vm: ImageVm;

  beforeAll(async () => {
    vm = await newVm('many', [
      { file: 'disk0.qcow2', mib: 64, dataMib: 8 },
      { file: 'disk1.qcow2', mib: 32 },
      { file: 'disk10.qcow2', mib: 16 },
    ]);
  });

  it('is backed up in full by one call, every disk with an export of its own that the answer names', async () => {
    const gate = await gates.holdCopies();
    instants.push(await copyOf(vm));
    const backup = await client.started('many', repository, 'auto');
    expect(backup).toMatchObject({
      vm_name: 'many',
      repository_id: repository,
      backup_type: 'full',
      full_reason: 'first_backup',
      parent_backup_id: null,
      status: 'running',
      error: null,
      completed_at: null,
    });
    expect(backup.disk_results.map(({ disk_key }) => disk_key)).toEqual(['disk0.qcow2', 'disk1.qcow2', 'disk10.qcow2']);
    const ports = await client.ports('allocated');
    for (const [index, disk] of backup.disk_results.entries()) {
      expect(disk).toMatchObject({ disk_id: index, error: null, virtual_size_bytes: ([64, 32, 16][index] ?? 0) * MIB });
      expect(disk.nbd_export_name).toMatch(new RegExp(`^backup-many-disk${index}-full-\\d{8}T\\d+Z$`));
      expect((disk.nbd_export_name ?? '').length).toBeLessThan(64);
      expect(ports).toContainEqual(expect.objectContaining({ port: disk.nbd_port, job_id: backup.backup_id, export_name: disk.nbd_export_name }));
      expect((await readFile(`/proc/${disk.qemu_nbd_pid ?? 0}/cmdline`, 'utf8')).split('\0')).toEqual(
        expect.arrayContaining(['--persistent', '--shared=20', disk.qcow2_path]),
      );
    }
    await gate.reached();
    const { processes } = (await system.api<{ processes: Record<string, unknown>[] }>('GET', '/nbd/processes')).body;
    expect(backup.nbd_targets_string).toBe(
      processes
        .map((one, index) => `${backup.disk_results[index]?.disk_key ?? ''}:${nbdUri({ socket: String(one['listens_on']) }, String(one['export_name']))}`)
        .join(','),
    );
    expect(processes).toEqual(
      backup.disk_results.map((disk) =>
        expect.objectContaining({
          pid: disk.qemu_nbd_pid,
          port: disk.nbd_port,
          export_name: disk.nbd_export_name,
          file: disk.qcow2_path,
          job_id: backup.backup_id,
          shared_limit: 20,
          transport: 'unix',
          state: 'running',
          uptime_seconds: expect.any(Number),
          connections: expect.any(Number),
        }),
      ),
    );
    await gate.open();

    const completed = await client.atRest(backup.backup_id);
    expect(completed).toMatchObject({ status: 'completed', current_phase: 'completed', progress_percent: 100, eta_seconds: null });
    expect(completed.nbd_targets_string).toBe(backup.nbd_targets_string);
    for (const disk of completed.disk_results) {
      expect(disk).toMatchObject({ status: 'completed', qemu_nbd_pid: null, sha256: expect.stringMatching(/^[0-9a-f]{64}$/), error: null });
      expect(await vm.bitmaps(disk.disk_key)).toEqual([disk.change_id]);
      expect(disk.size_bytes).toBe((await stat(disk.qcow2_path ?? '')).size);
      expect(disk.bytes_transferred).toBe(disk.total_bytes);
    }
    backups.push(completed);
    await requireRestorable(completed, instants[0] ?? new Map());
  });

  it('then carries only what has changed, and every restore point keeps what the disks held at its instant', async () => {
    for (let round = 1; round <= 2; round++) {
      await vm.write('disk0.qcow2', round * 9 * MIB, 256 * 1024);
      await vm.write('disk10.qcow2', round * MIB, 64 * 1024);
      instants.push(await copyOf(vm));
      const backup = await client.backUp('many', repository, round === 1 ? 'incremental' : 'auto');
      expect(backup).toMatchObject({
        backup_type: 'incremental',
        full_reason: null,
        parent_backup_id: backups.at(-1)?.backup_id,
        chain_id: backups[0]?.chain_id,
      });
      expect(backup.disk_results.map(({ bytes_transferred }) => bytes_transferred)).toEqual([256 * 1024, 0, 64 * 1024]);
      expect(backup.disk_results[0]?.nbd_export_name).toMatch(/^backup-many-disk0-incr-/);
      for (const disk of backup.disk_results) expect(await vm.bitmaps(disk.disk_key)).toEqual([disk.change_id]);
      backups.push(backup);
    }
    for (const [index, backup] of backups.entries()) await requireRestorable(backup, instants[index] ?? new Map());
  });

  it('has a chain, a change id, and a history of the words that the contract knows', async () => {
    const chain = (await system.api<Record<string, unknown>>('GET', '/backups/chain?vm_name=many')).body;
    expect(chain).toMatchObject({
      chain_id: backups[0]?.chain_id,
      full_backup_id: backups[0]?.backup_id,
      backup_count: 3,
      damaged: [],
      total_size_bytes: backups.flatMap(({ disk_results }) => disk_results).reduce((sum, disk) => sum + (disk.size_bytes ?? 0), 0),
    });
    expect(chain['backups']).toEqual(backups.map(listed));
    const changeId = await system.api<Record<string, unknown>>('GET', '/backups/changeid?vm_name=many&disk_id=2');
    expect(changeId.body).toMatchObject({ change_id: backups.at(-1)?.disk_results[2]?.change_id, disk_key: 'disk10.qcow2' });
    expect(await client.problem('GET', '/backups/changeid?vm_name=many&disk_id=3')).toMatchObject({ status: 404, code: 'change_id_not_found' });
    expect(await client.problem('GET', '/backups/chain?vm_name=nobody')).toMatchObject({ status: 404, code: 'vm_not_found' });

    const types = await client.eventTypes(backups[1]?.backup_id ?? '');
    const withoutProgress = types.filter((type) => type !== 'DiskTransferProgressed');
    expect(withoutProgress.slice(0, 2)).toEqual(['BackupRequested', 'BackupPlannedV2']);
    expect(withoutProgress.filter((type) => type === 'DiskTransferCompleted')).toHaveLength(3);
    expect(withoutProgress.slice(-4)).toEqual(['SnapshotReleased', 'RestorePointSealed', 'BackupCompleted', 'ChangeTrackingSettled']);
  });

  it('lies in the repository as files that describe themselves and that nobody writes to any more', async () => {
    for (const backup of backups) {
      const folder = join(system.repositoryPath, backup.folder ?? '');
      const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as Record<string, unknown>;
      expect(manifest).toMatchObject({ format_version: 2, backup_id: backup.backup_id, backup_type: backup.backup_type, chain_id: backup.chain_id });
      for (const disk of backup.disk_results) expect(((await stat(disk.qcow2_path ?? '')).mode & 0o222).toString(8)).toBe('0');
    }
  });

  it('can be seen as it stood at any moment of its past', async () => {
    const [full] = backups;
    const events = await client.events(full?.backup_id ?? '');
    const at = async (type: string): Promise<BackupResponse> =>
      (await system.api<BackupResponse>('GET', `/backups/${full?.backup_id ?? ''}?as_of=${events.find((event) => event.type === type)?.position ?? ''}`)).body;
    const requestedAt = events.find(({ type }) => type === 'BackupRequested')?.time ?? '';
    expect(await at('SnapshotTaken')).toMatchObject({ status: 'running', completed_at: null });
    expect(await at('ChangeTrackingSettled')).toMatchObject({ status: 'completed' });
    const before = new Date(Date.parse(requestedAt) - 1000).toISOString();
    expect(await client.problem('GET', `/backups/${full?.backup_id ?? ''}?as_of=${before}`)).toMatchObject({ status: 404, code: 'backup_not_found' });
  });

  it('is deleted newest first: what others stand on is refused, and so are its VM and its repository as long as it has backups', async () => {
    const files = await filesBelow(system.repositoryPath);
    const [full, middle, newest] = backups.map(({ backup_id }) => backup_id);
    const refusal = await client.problem('DELETE', `/backups/${middle ?? ''}`);
    expect(refusal).toMatchObject({ status: 409, code: 'restore_point_in_use', used_by: [newest] });
    expect(await client.problem('DELETE', `/backups/${full ?? ''}`)).toMatchObject({ status: 409, code: 'restore_point_in_use' });
    expect(await client.problem('DELETE', `/repositories/${repository}`)).toMatchObject({ status: 409, code: 'repository_has_backups' });
    expect(await client.problem('DELETE', `/vms/${backups[0]?.vm_id ?? ''}`)).toMatchObject({ status: 409 });
    expect(await filesBelow(system.repositoryPath)).toEqual(files);

    const deleted = await system.api<null>('DELETE', `/backups/${newest ?? ''}`);
    expect(deleted.status).toBe(204);
    expect(existsSync(join(system.repositoryPath, backups[2]?.folder ?? ''))).toBe(false);
    const after = (deleted.headers.get('etag') ?? '').replaceAll('"', '');
    expect((await system.api('GET', `/backups/${newest ?? ''}?after=${after}`)).body).toMatchObject({ status: 'deleted' });
    expect((await system.api('GET', `/backups/chain?vm_name=many&after=${after}`)).body).toMatchObject({ backup_count: 2, head_backup_id: middle });
    // What remains is whole, and the change id of the deleted one is gone with it: the next one says why it is a full.
    await requireRestorable(backups[1] as BackupResponse, instants[1] ?? new Map());
    expect(await client.backUp('many', repository, 'auto')).toMatchObject({ backup_type: 'full', full_reason: 'change_id_lost' });
  });
});

describe('names of any script, with spaces', () => {
  it.each(['Übung: Größe 5, (тест) 数据库 100% [1] #2', ...(IS_LONG ? ['plain name', 'comma, colon: percent% [1] #2'] : [])])(
    'work for the VM and its disks: %s',
    async (name) => {
      const vm = await newVm(name, [
        { file: `${name.replaceAll(':', ';')} a.qcow2`, mib: 8 },
        { file: 'disk:1,b=c.qcow2', mib: 8 },
      ]);
      const full = await client.backUp(name, repository, 'auto');
      for (const disk of full.disk_results) await vm.write(disk.disk_key, 0, 65536);
      const copies = await copyOf(vm);
      const incremental = await client.backUp(name, repository, 'incremental');
      await requireRestorable(incremental, copies);
      expect((await system.api('GET', `/backups/chain?vm_name=${encodeURIComponent(name)}`)).body).toMatchObject({ backup_count: 2, vm_name: name });
    },
  );
});

describe('raw disks', () => {
  it('get a full each time, with the reason', async () => {
    const vm = await newVm('raw', [
      { file: 'a.raw', mib: 8, format: 'raw' },
      { file: 'b.qcow2', mib: 8 },
    ]);
    expect(await client.backUp('raw', repository, 'auto')).toMatchObject({ full_reason: 'first_backup' });
    const copies = await copyOf(vm);
    const second = await client.backUp('raw', repository, 'auto');
    expect(second).toMatchObject({ backup_type: 'full', full_reason: 'no_change_tracking', full_reason_detail: expect.stringContaining('"a.raw"') });
    await requireRestorable(second, copies);
    expect(await client.refused('raw', repository, 'incremental')).toMatchObject({ status: 409, code: 'incremental_impossible', reason: 'no_change_tracking' });
  });
});

describe('the history of a running backup', () => {
  it('is followed live, with progress, until all is done, and resumed after the last event seen', async () => {
    await newVm('followed', [{ file: 'disk.qcow2', mib: 32, dataMib: 16 }]);
    const gate = await gates.holdCopies();
    const { backup_id } = await client.started('followed', repository, 'full');
    const following = eventStream(backup_id, null);
    await gate.reached();
    await gate.open();
    const live = await following;
    const events = await client.events(backup_id);
    expect(live.filter(({ event }) => event !== 'progress').map(({ event }) => event)).toEqual(events.map(({ type }) => type));
    expect(live.some(({ event }) => event === 'progress')).toBe(true);
    const resumed = await eventStream(backup_id, 2);
    expect(resumed.map(({ event }) => event)).toEqual(events.slice(3).map(({ type }) => type));
    expect(JSON.parse(resumed[0]?.data ?? '{}') as StreamEventResponse).toEqual(events[3]);
  });

  async function eventStream(backupId: string, lastSeen: number | null): Promise<{ event: string; data: string }[]> {
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const response = await fetch(`${system.url()}/api/v1/backups/${backupId}/events`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream', ...(lastSeen === null ? {} : { 'last-event-id': String(lastSeen) }) },
      signal: AbortSignal.timeout(60_000),
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const member = (block: string, name: string): string => new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1] ?? '';
    return (await response.text())
      .split('\n\n')
      .filter((block) => /^event:/m.test(block))
      .map((block) => ({ event: member(block, 'event'), data: member(block, 'data') }));
  }
});

describe('a command sent twice', () => {
  const key = { 'Idempotency-Key': 'nightly-2026-11-21' };
  let first: BackupResponse;

  it('starts one backup and gets the same answer, and another body under the same key is refused', async () => {
    await newVm('twice', [{ file: 'disk.qcow2', mib: 8 }]);
    const [one, other] = await Promise.all([client.start('twice', repository, 'full', key), client.start('twice', repository, 'full', key)]);
    first = one.body;
    expect(other.body).toEqual(first);
    await client.atRest(first.backup_id);
    const later = await client.start('twice', repository, 'full', key);
    expect({ status: later.status, body: later.body, replayed: later.headers.get('idempotency-replayed') }).toEqual({
      status: 202,
      body: first,
      replayed: 'true',
    });
    const body = { vm_name: 'twice', repository_id: repository, backup_type: 'auto' };
    expect(await client.problem('POST', '/backups', body, key)).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
    expect((await system.api<{ backups: unknown[] }>('GET', '/backups?vm_name=twice')).body.backups).toHaveLength(1);
  });

  it('gets that answer from the next hub too, and the next backup works', async () => {
    await system.kill('SIGTERM');
    await system.start({ PATH: gates.path });
    const { status, body } = await client.start('twice', repository, 'full', key);
    expect({ status, body }).toEqual({ status: 202, body: first });
    await client.backUp('twice', repository, 'incremental');
  });
});
