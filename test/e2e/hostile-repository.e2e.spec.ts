import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { AuditEventResponse } from '../../src/audit/audit-event.response.js';
import type { BackupResponse } from '../../src/backups/model/backup.response.js';
import type { VerificationResponse } from '../../src/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { requireTrueMetrics } from '../support/metrics-truth.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(180_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const ROOT = resolve(import.meta.dirname, '../..');
const MIB = 1024 * 1024;
const SECRET = 'TOP-SECRET-OF-THE-HOST';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let repository: string;
let backup: BackupResponse;
let path: string;
let secret: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'vm'), [{ file: 'disk0.qcow2', mib: 16, dataMib: 2 }]);
  await client.registerVm('vm', vm.folder);
  backup = await client.backUp('vm', repository, 'full');
  path = backup.disk_results[0]?.qcow2_path ?? '';
  secret = join(system.directory, 'secret');
  await writeFile(secret, SECRET.padEnd(16 * MIB, '.'), { mode: 0o600 });
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

const folderOf = (file: string): string => file.slice(0, file.lastIndexOf('/'));

/** What each way to the disk's content answers. */
async function answers(): Promise<readonly { readonly status: number; readonly code: string }[]> {
  const disk = { backup_id: backup.backup_id, disk_index: 0 };
  const target = join(system.directory, 'target');
  await mkdir(target, { recursive: true });
  return Promise.all([
    client.problem('GET', `/backups/${backup.backup_id}/disks/0/download?format=raw`),
    client.problem('GET', `/backups/${backup.backup_id}/disks/0/download?format=qcow2`),
    client.problem('POST', '/restore/exports', { ...disk, mode: 'read_only' }),
    client.problem('POST', '/restore/exports', { ...disk, mode: 'read_write' }),
    client.problem('POST', '/restore/mount', disk),
  ]);
}

async function eventsOfChain(): Promise<readonly AuditEventResponse[]> {
  return (await system.api<{ events: AuditEventResponse[] }>('GET', `/audit/streams/chain-${backup.chain_id ?? ''}`)).body.events;
}

async function verified(): Promise<VerificationResponse> {
  const { body } = await system.api<VerificationResponse>('POST', `/backups/${backup.backup_id}/verify`);
  return until('the verdict', async () => {
    const found = await system.api<{ verifications: VerificationResponse[] }>('GET', `/backups/${backup.backup_id}/verifications`);
    const verification = found.body.verifications.find(({ verification_id }) => verification_id === body.verification_id);
    return verification === undefined || verification.status === 'running' ? null : verification;
  });
}

describe('a repository that others write to', () => {
  it('serves nothing of a sealed file that was replaced by one of the same length and time', async () => {
    const { atime, mtime } = await stat(path);
    const sound = await readFile(path);
    const other = Buffer.from(sound);
    other.write(SECRET, other.length - 100);
    await chmod(folderOf(path), 0o755);
    await writeFile(`${path}.new`, other);
    await rename(`${path}.new`, path);
    await utimes(path, atime, mtime);
    for (const answer of await answers()) expect(answer).toMatchObject({ status: 409, code: 'restore_point_damaged' });
    await writeFile(`${path}.new`, sound);
    await rename(`${path}.new`, path);
  });

  it('marks it as damaged once, as a failed verification does, and nothing is built on it', async () => {
    await answers();
    const marks = (await eventsOfChain()).filter(({ type }) => type === 'RestorePointDamaged');
    expect(marks).toMatchObject([{ data: { backup_id: backup.backup_id, code: 'parent_altered', file: expect.stringContaining('disk-0.qcow2') } }]);
    expect(marks[0]?.actor).toBe('system:chain-guard');
    const found = await until('the mark to be shown', async () => ((await client.get(backup.backup_id)).damage === null ? null : client.get(backup.backup_id)));
    expect(found.damage).toMatchObject({ code: 'file_altered', verification_id: null });
    await requireTrueMetrics(system);
    expect(system.log()).toMatch(/a restore point is damaged/);
    expect(await client.refused('vm', repository, 'incremental')).toMatchObject({ code: 'incremental_impossible', reason: 'parent_altered' });
    backup = await client.backUp('vm', repository, 'auto');
    expect(backup).toMatchObject({ backup_type: 'full', full_reason: 'parent_altered', damage: null });
    path = backup.disk_results[0]?.qcow2_path ?? '';
  });

  it('serves nothing through a link, and calls it no sound restore point', async () => {
    await rename(path, join(system.directory, 'elsewhere.qcow2'));
    await symlink(join(system.directory, 'elsewhere.qcow2'), path);
    for (const answer of await answers()) expect(answer).toMatchObject({ status: 409, code: 'restore_point_unsafe' });
    const restore = { backup_id: backup.backup_id, target_path: join(system.directory, 'target'), format: 'raw', allow_damaged: true };
    expect(await client.problem('POST', '/restore/disks', restore)).toMatchObject({ status: 409, code: 'restore_point_unsafe' });
    await rm(path);
    await rename(join(system.directory, 'elsewhere.qcow2'), path);
    // What was touched and is as it was is read once, and served.
    expect((await system.api('POST', '/restore/exports', { backup_id: backup.backup_id, disk_index: 0, mode: 'read_only' })).status).toBe(201);
  });

  it.each([
    ['stands on a file of the host', (disk: string) => run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', disk, `${16 * MIB}`])],
    [
      'keeps its data in a file of the host',
      async (disk: string) => {
        const data = join(system.directory, `data-${randomUUID()}`);
        await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data},data_file_raw=on`, disk, `${16 * MIB}`]);
        await cp(secret, data);
      },
    ],
  ])('is not imported, nor restored from without a hub, where a disk %s', async (what, make) => {
    const copy = join(system.directory, `hostile ${what}`);
    await cp(system.repositoryPath, copy, { recursive: true });
    await run('chmod', ['-R', 'u+rwX', copy]);
    const repositoryId = randomUUID();
    const marker = join(copy, '.sendense-repository.json');
    await writeFile(marker, (await readFile(marker, 'utf8')).replace(/"repository_id": "[^"]*"/, `"repository_id": "${repositoryId}"`));
    const folder = join(copy, backup.folder ?? '');
    const disk = join(folder, 'disk-0.qcow2');
    await rm(disk);
    await make(disk);
    const content = await readFile(disk);
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as { disks: object[] };
    const disks = manifest.disks.map((each) => ({
      ...each,
      file_size_bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    }));
    const changed = { ...manifest, backup_id: randomUUID(), repository_id: repositoryId, chain_id: randomUUID(), disks };
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(changed));

    const { body } = await system.api<{ imported: string[]; skipped: { reason: string }[] }>('POST', '/repositories/import', {
      path: copy,
      name: `hostile ${what}`,
    });
    expect(body.imported).toEqual([]);
    expect(body.skipped).toContainEqual({ folder: backup.folder, reason: expect.stringContaining('disk-0.qcow2') });

    const target = join(system.directory, `offline ${what}`);
    await mkdir(target);
    const offline = await run(process.execPath, [
      join(ROOT, 'dist/src/main.cli.js'),
      'restore',
      '--repository',
      copy,
      'disks',
      '--target',
      target,
      '--json',
    ]).catch((error: unknown) => error);
    expect(offline).toMatchObject({ code: 1, stdout: expect.stringContaining('restore_point_unsafe') });
  });

  it('restores into none of the folders that the hub uses itself', async () => {
    for (const target of [system.imageRoot, join(system.directory, 'data')]) {
      await mkdir(target, { recursive: true });
      const request = { backup_id: backup.backup_id, target_path: target, format: 'raw' };
      expect(await client.problem('POST', '/restore/disks', request)).toMatchObject({ status: 400, code: 'target_refused' });
    }
  });

  it('is found by a verification to have data elsewhere', async () => {
    await chmod(folderOf(path), 0o755);
    const data = join(system.directory, 'data-of-sealed');
    await rm(path);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data},data_file_raw=on`, path, `${16 * MIB}`]);
    expect(await verified()).toMatchObject({ status: 'failed' });
    expect((await client.problem('GET', `/backups/${backup.backup_id}/disks/0/download?format=raw`)).status).toBe(409);
  });
});
