import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { CreatedRepositoryDto, RepositoryResponse } from '../../src/hub/repositories/repositories/model/repository.response.js';
import type { RepositoryTestDto } from '../../src/hub/repositories/repositories/test-repository/test-repository.dto.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(300_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'mount', 'umount');
const VM = 'pgtest1';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
/** The file system, and where it is mounted. */
let disk: string;
let point: string;
let id: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  disk = join(system.directory, 'disk');
  point = join(system.directory, 'mounted here');
  for (const path of [disk, point, join(system.directory, 'empty')]) await mkdir(path);
  const vm = await ImageVm.create(join(system.imageRoot, VM), [{ file: 'disk0.qcow2', mib: 8, dataMib: 4 }]);
  await client.registerVm(VM, vm.folder);
});

afterAll(async () => {
  await run('umount', [point]).catch(() => undefined);
  await system.destroy();
  await database.drop();
});

async function move(path: string, requireMount: boolean) {
  return system.api<CreatedRepositoryDto>('POST', `/repositories/${id}/move`, { type: 'local', path, require_mount: requireMount });
}

async function verified(backupId: string): Promise<VerificationResponse> {
  const path = `/backups/${backupId}`;
  await system.api('POST', `${path}/verify`);
  return until(`the verification of backup ${backupId}`, async () => {
    const { body } = await system.api<{ verifications: VerificationResponse[] }>('GET', `${path}/verifications`);
    return body.verifications.find(({ status }) => status !== 'running') ?? false;
  });
}

describe('a repository that must be a mount point', () => {
  it('is created only where something is mounted', async () => {
    const request = { type: 'local', path: point, require_mount: true };
    const test = await system.api<RepositoryTestDto>('POST', '/repositories/test', request);
    expect(test.body).toMatchObject({ ok: false, checks: [{ name: 'absolute_path' }, { name: 'mounted', ok: false }] });
    expect(await client.problem('POST', '/repositories', { ...request, name: 'main' })).toMatchObject({ status: 400, code: 'repository_not_mounted' });
    expect(await readdir(point)).toEqual([]);

    await run('mount', ['--bind', disk, point]);
    expect((await system.api<RepositoryTestDto>('POST', '/repositories/test', request)).body).toMatchObject({ ok: true });
    const { status, body } = await system.api<CreatedRepositoryDto>('POST', '/repositories', { ...request, path: `${disk}/..//mounted here/`, name: 'main' });
    expect({ status, body }).toMatchObject({ status: 201, body: { type: 'local', path: point, require_mount: true } });
    id = body.repository_id;
    expect((await client.backUp(VM, id, 'full')).status).toBe('completed');
  });

  it('is refused while it is unmounted, and nothing is written below, even where its marker lies', async () => {
    await run('umount', [point]);
    expect(await client.refused(VM, id, 'incremental')).toMatchObject({ status: 503, code: 'repository_unavailable', reason: 'not_mounted' });
    expect(await readdir(point)).toEqual([]);
    await cp(join(disk, '.sendense-repository.json'), join(point, '.sendense-repository.json'));
    expect(await client.refused(VM, id, 'full')).toMatchObject({ code: 'repository_unavailable', reason: 'not_mounted' });
    expect(await client.problem('GET', `/repositories/${id}/storage`)).toMatchObject({ status: 503, reason: 'not_mounted' });
    expect(await readdir(point)).toEqual(['.sendense-repository.json']);
  });

  it('is not a share with members of a folder, or with forbidden options', async () => {
    const share = { name: 'nas', type: 'nfs', server: 'nas', export: '/backups' };
    for (const [wrong, field] of [
      [{ path: '/srv' }, 'path'],
      [{ options: ['exec'] }, 'options'],
      [{ server: '-o' }, 'server'],
    ] as const) {
      expect(await client.problem('POST', '/repositories', { ...share, ...wrong })).toMatchObject({ status: 400, code: 'repository_location_invalid', field });
    }
  });

  it('is moved to where its marker is, and nowhere else', async () => {
    const away = join(system.directory, 'moved');
    await rename(disk, away);
    const empty = { type: 'local', path: join(system.directory, 'empty') };
    expect(await client.problem('POST', `/repositories/${id}/move`, empty)).toMatchObject({ status: 400, code: 'repository_marker_missing' });
    const other = { type: 'local', path: system.repositoryPath };
    await client.createRepository('other', system.repositoryPath);
    expect(await client.problem('POST', `/repositories/${id}/move`, other)).toMatchObject({ status: 409, code: 'repository_overlaps' });
    expect(await client.problem('POST', `/repositories/${id}/move`, { ...empty, path: away, require_mount: true })).toMatchObject({
      code: 'repository_not_mounted',
    });
    expect(await readdir(empty.path)).toEqual([]);

    expect(await move(`${away}/`, false)).toMatchObject({ status: 200, body: { path: away, require_mount: false } });
    expect(await move(away, false)).toMatchObject({ status: 200, body: { path: away } });
    expect((await system.api<RepositoryResponse>('GET', `/repositories/${id}`)).body).toMatchObject({ path: away, require_mount: false });
    const next = await client.backUp(VM, id, 'auto');
    expect(next).toMatchObject({ status: 'completed', backup_type: 'incremental' });
    expect(await verified(next.backup_id)).toMatchObject({ status: 'passed' });
  });
});
