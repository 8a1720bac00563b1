import { execFile } from 'node:child_process';
import { chmod, mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse, BackupWithCopiesResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import type { CopyResponse } from '../../src/hub/repositories/copies/model/copy.response.js';
import type { RestoreExportResponse } from '../../src/hub/restore/restore-exports/model/restore-export.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'nbdkit', 'dd', 'touch');
const MIB = 1024 * 1024;
const VM = 'pgtest1';
const DISK = 'disk0.qcow2';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let primary: string;
let second: string;
let third: string;
let secondPath: string;
let thirdPath: string;
const backups: BackupResponse[] = [];
const truths: string[] = [];

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  primary = await client.createRepository('main', system.repositoryPath);
  secondPath = join(system.directory, 'second');
  thirdPath = join(system.directory, 'third');
  for (const path of [secondPath, thirdPath]) await mkdir(path);
  second = await client.createRepository('second', secondPath);
  third = await client.createRepository('third', thirdPath);
  const vm = await ImageVm.create(join(system.imageRoot, VM), [{ file: DISK, mib: 32, dataMib: 20 }]);
  await client.registerVm(VM, vm.folder);
  for (const type of ['full', 'incremental', 'incremental'] as const) {
    await vm.write(DISK, backups.length * MIB, MIB + 65_536);
    const copies = await vm.copyTo(join(system.directory, `truth-${backups.length}`));
    truths.push(copies.get(DISK) ?? '');
    backups.push(await client.backUp(VM, primary, type));
  }
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

function backup(index: number): BackupResponse {
  const found = backups[index];
  if (found === undefined) throw new Error(`there is no backup ${index}`);
  return found;
}

async function request(index: number, body: object): Promise<CopyResponse> {
  const { status, body: copy } = await system.api<CopyResponse>('POST', `/backups/${backup(index).backup_id}/copy`, body);
  if (status !== 202) throw new Error(`answered ${status}: ${JSON.stringify(copy)}`);
  return copy;
}

async function get(copyId: string): Promise<CopyResponse> {
  return (await system.api<CopyResponse>('GET', `/copies/${copyId}`)).body;
}

async function ended(copyId: string): Promise<CopyResponse> {
  return until(`copy ${copyId} to end`, async () => {
    const copy = await get(copyId);
    return ['completed', 'failed', 'cancelled'].includes(copy.status) && copy;
  });
}

async function copiesOf(index: number): Promise<readonly CopyResponse[]> {
  return (await system.api<{ copies: CopyResponse[] }>('GET', `/backups/${backup(index).backup_id}/copies`)).body.copies;
}

async function flipBit(file: string, offset: number): Promise<void> {
  await chmod(file, 0o644);
  const handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, offset);
  await handle.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset);
  await handle.close();
}

/** The copy holds what the VM held. */
async function requireWhole(repositoryPath: string, index: number): Promise<void> {
  await requireSameContent(truths[index] ?? '', join(repositoryPath, backup(index).folder ?? '', 'disk-0.qcow2'));
}

describe('copies of restore points', () => {
  it('continue at the block that they had reached when the hub was killed', async () => {
    const { copy_id } = await request(0, { repository_id: second, bandwidth_limit_bps: 4 * MIB });
    await until('two blocks to be copied', async () => ((await get(copy_id)).progress_bytes ?? 0) >= 8 * MIB);
    await system.kill('SIGKILL');
    await system.start();
    const copy = await ended(copy_id);
    expect(copy).toMatchObject({ status: 'completed', form: 'identical', interruption: null, error: null });
    expect(copy.kept_bytes).toBeGreaterThanOrEqual(4 * MIB);
    expect((copy.kept_bytes ?? 0) + (copy.written_bytes ?? 0)).toBeLessThanOrEqual(copy.total_bytes ?? 0);
    await run('diff', ['-r', join(secondPath, backup(0).folder ?? ''), join(system.repositoryPath, backup(0).folder ?? '')]);
    await requireWhole(secondPath, 0);
  });

  it('are made parents first, or flattened', async () => {
    const whole = await request(2, { repository_id: second, with_parents: true });
    const flat = await request(2, { repository_id: third });
    expect(await ended(whole.copy_id)).toMatchObject({ status: 'completed', form: 'identical', parent_backup_id: backup(1).backup_id });
    expect(await ended(flat.copy_id)).toMatchObject({ status: 'completed', form: 'flattened', parent_backup_id: null });
    expect((await copiesOf(1)).map(({ status, form, repository_id }) => [status, form, repository_id])).toEqual([['completed', 'identical', second]]);
    for (const index of [1, 2]) await requireWhole(secondPath, index);
    await requireWhole(thirdPath, 2);
  });

  it('are refused where they make no sense, and keep their repository', async () => {
    const path = `/backups/${backup(0).backup_id}/copy`;
    expect(await client.problem('POST', path, { repository_id: second })).toMatchObject({ code: 'copy_exists', status: 409 });
    expect(await client.problem('POST', path, { repository_id: primary })).toMatchObject({ code: 'copy_target_is_source', status: 400 });
    expect(await client.problem('DELETE', `/repositories/${third}`)).toMatchObject({ code: 'repository_has_backups' });
    const [full] = await copiesOf(0);
    expect(await client.problem('DELETE', `/copies/${full?.copy_id ?? ''}`)).toMatchObject({ code: 'copy_in_use' });
    expect(await client.problem('POST', `/copies/${full?.copy_id ?? ''}/cancel`)).toMatchObject({ code: 'copy_already_ended' });
  });

  it('leave nothing when they are cancelled, and keep their source until then', async () => {
    const { copy_id } = await request(0, { repository_id: third, bandwidth_limit_bps: MIB });
    await until('a block to be copied', async () => ((await get(copy_id)).progress_bytes ?? 0) > 0);
    const refused = await client.problem('DELETE', `/backups/${backup(0).backup_id}`);
    expect(refused).toMatchObject({ code: 'restore_point_in_use', used_by: expect.arrayContaining([`copy ${copy_id}`]) });
    expect((await system.api('POST', `/copies/${copy_id}/cancel`)).status).toBe(202);
    const folder = join(thirdPath, backup(0).folder ?? '', '..');
    await until('its files to be removed', async () => (await readdir(folder)).every((name) => !name.startsWith('.')));
    expect(await readdir(folder)).toHaveLength(1);
  });

  it('are what a restore reads when the repository that was backed up to is gone', async () => {
    const away = join(system.directory, 'away');
    const targets = ['gone', 'chosen', 'deleted'].map((name) => join(system.directory, name));
    for (const target of targets) await mkdir(target);
    const restore = async (target: string | undefined, extra: object = {}): Promise<RestoreJobResponse> => {
      const body = { backup_id: backup(2).backup_id, target_path: target, format: 'raw', ...extra };
      const { status, body: job } = await system.api<RestoreJobResponse>('POST', '/restore/disks', body);
      if (status !== 202) throw new Error(`answered ${status}: ${JSON.stringify(job)}`);
      const done = await until('the restore to end', async () => {
        const { body: found } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${job.job_id}`);
        return ['completed', 'failed'].includes(found.status) && found;
      });
      expect(done).toMatchObject({ status: 'completed', error: null });
      await run('cmp', [truths[2] ?? '', join(target ?? '', `${VM}-disk0.raw`)]);
      return done;
    };
    await rename(system.repositoryPath, away);
    expect(await restore(targets[0])).toMatchObject({ repository_id: second });
    const { body: served } = await system.api<RestoreExportResponse>('POST', '/restore/exports', {
      backup_id: backup(2).backup_id,
      disk_index: 0,
      mode: 'read_only',
    });
    expect(served).toMatchObject({ status: 'running' });
    const [newest] = (await copiesOf(2)).filter(({ repository_id }) => repository_id === second);
    expect(await client.problem('DELETE', `/copies/${newest?.copy_id ?? ''}`)).toMatchObject({ code: 'copy_in_use' });
    expect((await system.api('DELETE', `/restore/exports/${served.export_id}`)).status).toBe(204);
    await rename(away, system.repositoryPath);

    expect(await restore(targets[1], { repository_id: third })).toMatchObject({ repository_id: third });
    const elsewhere = { backup_id: backup(1).backup_id, target_path: targets[2], format: 'raw', repository_id: third };
    expect(await client.problem('POST', '/restore/disks', elsewhere)).toMatchObject({ code: 'copy_not_found', status: 404 });
  });

  it('are healed from the repository that was backed up to, and heal it', async () => {
    const file = join(backup(0).folder ?? '', 'disk-0.qcow2');
    const ended = async (name: 'verify' | 'heal', index: number, body: object): Promise<VerificationResponse> => {
      const { status, body: begun } = await system.api<VerificationResponse>('POST', `/backups/${backup(index).backup_id}/${name}`, body);
      if (status !== 202) throw new Error(`answered ${status}: ${JSON.stringify(begun)}`);
      return until('the verification to end', async () => {
        const { body: page } = await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backup(index).backup_id}/verifications`);
        const found = page.verifications.find(({ verification_id }) => verification_id === begun.verification_id);
        return found !== undefined && found.status !== 'running' && found;
      });
    };
    const full = async (): Promise<CopyResponse | undefined> =>
      (await copiesOf(0)).find(({ repository_id, status }) => repository_id === second && status === 'completed');
    expect(await ended('verify', 2, { repository_id: second })).toMatchObject({ status: 'passed', repository_id: second, files_checked: 3 });
    expect((await full())?.checked_at).not.toBeNull();

    await flipBit(join(secondPath, file), 5 * MIB);
    await flipBit(join(system.repositoryPath, file), 9 * MIB);
    const range = { offset_bytes: 4 * MIB, length_bytes: 4 * MIB };
    expect(await ended('verify', 0, { repository_id: second })).toMatchObject({ status: 'failed', findings: [{ code: 'file_altered', ranges: [range] }] });
    expect((await full())?.damage).toMatchObject({ code: 'file_altered', ranges: [range] });
    expect(await ended('heal', 2, { repository_id: second })).toMatchObject({
      status: 'passed',
      healed: [{ backup_id: backup(0).backup_id, file, from_repository_ids: [primary], ranges: [range] }],
      unhealed: [],
    });
    expect(await full()).toMatchObject({ damage: null, healed: { files: [{ from_repository_ids: [primary] }] } });
    await requireWhole(secondPath, 2);

    expect(await ended('verify', 0, {})).toMatchObject({ status: 'failed' });
    const damaged = async (index: number): Promise<unknown> => (await system.api<BackupResponse>('GET', `/backups/${backup(index).backup_id}`)).body.damage;
    expect(await damaged(2)).toMatchObject({ caused_by_backup_id: backup(0).backup_id });
    const script = join(import.meta.dirname, '../../bin/sendense');
    const env = { ...process.env, SENDENSE_DATA_DIRECTORY: system.dataDirectory };
    const { stdout } = await run(script, ['backup', 'heal', backup(0).backup_id, '--everywhere'], { env });
    expect(stdout).toContain(`healed: ${file}, ${4 * MIB} bytes from ${second}`);
    expect([await damaged(0), await damaged(2)]).toEqual([null, null]);
    await run('diff', ['-r', join(secondPath, backup(0).folder ?? ''), join(system.repositoryPath, backup(0).folder ?? '')]);
    for (const type of ['RestorePointHealed', 'CopyHealed']) {
      const { body: audit } = await system.api<{ events: unknown[] }>('GET', `/audit/events?type=${type}`);
      expect(audit.events.length).toBeGreaterThan(0);
    }

    await flipBit(join(thirdPath, backup(2).folder ?? '', 'disk-0.qcow2'), 5 * MIB);
    expect(await ended('heal', 2, { repository_id: third })).toMatchObject({ status: 'failed', healed: [], unhealed: [{ code: 'no_other_place' }] });
    await flipBit(join(thirdPath, backup(2).folder ?? '', 'disk-0.qcow2'), 5 * MIB);
    expect(await ended('heal', 2, { repository_id: third })).toMatchObject({ status: 'passed', healed: [] });
    expect(await client.problem('POST', `/backups/${backup(1).backup_id}/heal`, { repository_id: third })).toMatchObject({ code: 'copy_not_found' });
  });

  it('are marked by themselves when a file of theirs is damaged, and are not read any more', async () => {
    const file = join(thirdPath, backup(2).folder ?? '', 'disk-0.qcow2');
    await flipBit(file, 5 * MIB);
    const exported = { backup_id: backup(2).backup_id, disk_index: 0, mode: 'read_only', repository_id: third };
    expect(await client.problem('POST', '/restore/exports', exported)).toMatchObject({ code: 'restore_point_damaged' });
    const body = await until('the copy to be shown as damaged', async () => {
      const { body: shown } = await system.api<BackupWithCopiesResponse>('GET', `/backups/${backup(2).backup_id}`);
      return shown.copies.some(({ damaged }) => damaged) && shown;
    });
    expect(body).toMatchObject({ damage: null, status: 'completed' });
    expect(body.copies.map(({ repository_id, damaged }) => [repository_id, damaged])).toEqual([
      [second, false],
      [third, true],
    ]);
    const { stdout } = await run(join(import.meta.dirname, '../../bin/sendense'), ['copy', 'list', '--status', 'completed'], {
      env: { ...process.env, SENDENSE_DATA_DIRECTORY: system.dataDirectory },
    });
    expect(stdout.split('\n').filter((line) => line.includes(VM))).toHaveLength(4);
  });

  it('outlive the restore point that they were copied from', async () => {
    await until('the newest restore point to be free', async () => (await system.api('DELETE', `/backups/${backup(2).backup_id}`)).status === 204);
    const response = await fetch(`${system.url()}/api/v1/backups/${backup(2).backup_id}/disks/0/download`, {
      headers: { authorization: `Bearer ${system.apiToken()}` },
    });
    expect(response.status).toBe(200);
    const content = Buffer.from(await response.arrayBuffer());
    expect(content.equals(await readFile(truths[2] ?? ''))).toBe(true);
  });

  it('are deleted by a command of their own', async () => {
    const [flat] = (await copiesOf(2)).filter(({ repository_id }) => repository_id === third);
    expect((await system.api('DELETE', `/copies/${flat?.copy_id ?? ''}`)).status).toBe(204);
    expect(await readdir(thirdPath)).toEqual(['.sendense-repository.json']);
    expect((await copiesOf(2)).map(({ status }) => status)).toEqual(['deleted', 'completed']);
    expect((await system.api('DELETE', `/repositories/${third}`)).status).toBe(204);
  });
});
