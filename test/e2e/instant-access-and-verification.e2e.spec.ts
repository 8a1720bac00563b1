import { execFile } from 'node:child_process';
import { chmod, readdir, readFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreExportResponse } from '../../src/hub/restore/restore-exports/model/restore-export.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { requireCauses } from '../support/event-causes.js';
import { HubSystem, signalPid, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { keyFileOf, through } from '../support/published-export.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(120_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'nbdkit');
const MIB = 1024 * 1024;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let repository: string;
let vm: ImageVm;
let full: BackupResponse;
let incremental: BackupResponse;
let content: ReadonlyMap<string, string>;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
  vm = await ImageVm.create(join(system.imageRoot, 'pgtest1'), [{ file: 'disk0.qcow2', mib: 32 }]);
  await client.registerVm('pgtest1', vm.folder);
  full = await client.backUp('pgtest1', repository, 'full');
  await vm.write('disk0.qcow2', 20 * MIB, MIB);
  content = await vm.copyTo(join(system.directory, 'copies'));
  incremental = await client.backUp('pgtest1', repository, 'incremental');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function publish(
  mode: string,
  backup = incremental,
): Promise<{ readonly export_id: string; readonly uri: string; readonly keyFile: string; readonly status: string }> {
  const { status, body } = await system.api<RestoreExportResponse>('POST', '/restore/exports', { backup_id: backup.backup_id, disk_index: 0, mode });
  if (status !== 201 || body.uri === null) throw new Error(`answered ${status}: ${JSON.stringify(body)}`);
  return { export_id: body.export_id, uri: body.uri, keyFile: await keyFileOf(system, body.export_id), status: body.status };
}

async function standing(exportId: string): Promise<RestoreExportResponse | undefined> {
  const { body } = await system.api<{ exports: RestoreExportResponse[] }>('GET', '/restore/exports');
  return body.exports.find(({ export_id }) => export_id === exportId);
}

async function requireContent(published: { readonly uri: string; readonly keyFile: string }): Promise<void> {
  await through(published, `qemu-img compare -f raw -F raw '${content.get('disk0.qcow2') ?? ''}' "$uri"`);
}

async function requireNothingLeft(): Promise<void> {
  await until('everything to be gone', async () => {
    const { ports, processes } = await client.held();
    return ports.length === 0 && processes.length === 0;
  });
  expect(await readdir(join(system.dataDirectory, 'run', 'restore-exports')).catch(() => [])).toEqual([]);
}

describe('instant access', () => {
  it('publishes a restore point read-only, until it is ended', async () => {
    const published = await publish('read_only');
    const { export_id, status } = published;
    expect(status).toBe('running');
    await requireContent(published);
    await expect(run('nbdinfo', ['--size', published.uri.replace('nbds://sendense@', 'nbd://')])).rejects.toThrow(/requires TLS/);
    await expect(through(published, `qemu-io -f raw -c 'write 0 4k' "$uri"`)).rejects.toThrow();
    const refusal = await client.problem('DELETE', `/backups/${incremental.backup_id}`);
    expect(refusal).toMatchObject({ status: 409, code: 'restore_point_in_use', used_by: [`restore export ${export_id}`] });
    expect((await system.api('DELETE', `/restore/exports/${export_id}`)).status).toBe(204);
    expect((await system.api('DELETE', `/restore/exports/${export_id}`)).status).toBe(204);
    await requireNothingLeft();
    expect(await standing(export_id)).toMatchObject({ status: 'ended', end_reason: 'deleted' });
  });

  it('takes writes that never reach the backup', async () => {
    const before = await readFile(incremental.disk_results[0]?.qcow2_path ?? '');
    const published = await publish('read_write');
    const { export_id } = published;
    await through(published, `qemu-io -f raw -c 'write -P 7 0 1M' "$uri"`);
    await through(published, `qemu-io -f raw -c 'read -P 7 0 1M' "$uri"`);
    await system.api('DELETE', `/restore/exports/${export_id}`);
    await requireNothingLeft();
    expect((await readFile(incremental.disk_results[0]?.qcow2_path ?? '')).equals(before)).toBe(true);
  });

  it('goes on over a kill of the hub, and ends when its server dies', async () => {
    const published = await publish('read_only');
    const { export_id } = published;
    await system.kill('SIGKILL');
    await requireContent(published);
    await system.start();
    await requireContent(published);
    const { body } = await system.api<{ processes: { pid: number; job_id: string }[] }>('GET', '/nbd/processes');
    const server = body.processes.find(({ job_id }) => job_id === export_id);
    signalPid(server?.pid, 'SIGKILL');
    await until('its end', async () => (await standing(export_id))?.end_reason === 'server_exited');
    await requireNothingLeft();
  });

  it.each([
    ['a disk that is not there', { disk_index: 1 }, 400, 'restore_disk_not_found'],
    ['a backup that nobody knows', { backup_id: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7aff' }, 404, 'backup_not_found'],
    ['a mode that is none', { mode: 'write' }, 400, 'validation_failed'],
  ])('refuses %s', async (_what, wrong, status, code) => {
    const request = { backup_id: incremental.backup_id, disk_index: 0, mode: 'read_only', ...wrong };
    expect(await client.problem('POST', '/restore/exports', request)).toMatchObject({ status, code });
  });
});

describe('verification', () => {
  async function verify(backup: BackupResponse): Promise<VerificationResponse> {
    const { status, body } = await system.api<VerificationResponse>('POST', `/backups/${backup.backup_id}/verify`);
    if (status !== 202) throw new Error(`answered ${status}: ${JSON.stringify(body)}`);
    return until('the verdict', async () => {
      const list = (await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backup.backup_id}/verifications`)).body.verifications;
      return list.find(({ verification_id, status: now }) => verification_id === body.verification_id && now !== 'running') ?? null;
    });
  }

  it('passes what is as it was sealed', async () => {
    expect(await verify(incremental)).toMatchObject({ status: 'passed', findings: [], files_checked: 2, error: null });
  });

  it('gives no verdict while the repository is away', async () => {
    await rename(system.repositoryPath, `${system.repositoryPath}.away`);
    try {
      expect(await client.problem('POST', `/backups/${full.backup_id}/verify`)).toMatchObject({ status: 503, code: 'repository_unavailable' });
    } finally {
      await rename(`${system.repositoryPath}.away`, system.repositoryPath);
    }
  });

  it('names a truncated file and its restore point, marks what stands on it, and the next backup is a full for that reason', async () => {
    const path = full.disk_results[0]?.qcow2_path ?? '';
    await chmod(path, 0o644);
    await truncate(path, 100_000);
    // The first request finds it. qemu would read zeroes where the file ends, so nothing is read from it.
    const refusal = { status: 409, code: 'restore_point_damaged', detail: expect.stringContaining(path) };
    const disk = { backup_id: incremental.backup_id, disk_index: 0 };
    expect(await client.problem('POST', '/restore/exports', { ...disk, mode: 'read_only' })).toMatchObject(refusal);
    expect(await client.problem('POST', '/restore/mount', disk)).toMatchObject(refusal);
    expect(await client.problem('GET', `/backups/${incremental.backup_id}/disks/0/download`)).toMatchObject(refusal);
    const verdict = await verify(incremental);
    expect(verdict).toMatchObject({
      status: 'failed',
      findings: [{ code: 'file_truncated', backup_id: full.backup_id, file: join(full.folder ?? '', 'disk-0.qcow2') }],
    });
    expect(verdict.findings[0]?.detail).toContain(path);
    await until('both restore points to be marked', async () => {
      const { body } = await system.api<{ damaged: { backup_id: string; code: string }[] }>('GET', '/backups/chain?vm_name=pgtest1');
      return body.damaged.map(({ code }) => code).join() === 'file_truncated,parent_truncated';
    });
    const damages = await until('the backups to show it', async () => {
      const { body } = await system.api<{ backups: BackupResponse[] }>('GET', '/backups?vm_name=pgtest1');
      const damaged = new Map(body.backups.flatMap(({ backup_id, damage }) => (damage === null ? [] : [[backup_id, damage]])));
      return damaged.size === 2 ? damaged : null;
    });
    const found = { file: join(full.folder ?? '', 'disk-0.qcow2'), verification_id: null };
    expect(damages.get(full.backup_id)).toMatchObject({ ...found, code: 'file_truncated', caused_by_backup_id: null });
    expect(damages.get(incremental.backup_id)).toMatchObject({ ...found, code: 'parent_truncated', caused_by_backup_id: full.backup_id });
    const asOf = (time: string) => system.api<BackupResponse>('GET', `/backups/${incremental.backup_id}?as_of=${time}`);
    expect((await asOf(incremental.completed_at ?? '')).body.damage).toBeNull();
    expect((await asOf(new Date().toISOString())).body.damage).toEqual(damages.get(incremental.backup_id));
    expect(await client.backUp('pgtest1', repository, 'auto')).toMatchObject({ backup_type: 'full', full_reason: 'parent_truncated', damage: null });
  });
});

/** The last, because the hub it starts leaves other tests no time. */
describe('instant access that nobody uses', () => {
  beforeAll(async () => {
    await system.kill('SIGTERM');
    await system.start({ SENDENSE_RESTORE_EXPORT_IDLE_SECONDS: '1' });
  });

  it('ends by itself when nobody is connected at its deadline', async () => {
    const { export_id } = await publish('read_write', await client.backUp('pgtest1', repository, 'full'));
    await until('its end', async () => (await standing(export_id))?.end_reason === 'expired');
    await requireNothingLeft();
  });

  it('was recorded like everything before it: with a command and an actor', async () => {
    await requireCauses(system, ['RestoreExportEnded', 'VerificationFailed', 'RestorePointDamaged']);
  });
});
