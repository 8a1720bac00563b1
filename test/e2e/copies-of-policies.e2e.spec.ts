import { mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { OccurrenceResponse } from '../../src/hub/backup/policies/model/occurrence.response.js';
import type { PolicyResponse } from '../../src/hub/backup/policies/model/policy.response.js';
import type { CopyResponse } from '../../src/hub/repositories/copies/model/copy.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(300_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'nbdkit');
const MIB = 1024 * 1024;
const DISK = 'disk0.qcow2';
const DISK_FILE = 'disk-0.qcow2';
const NOBODY = '0199a3c0-2b40-7d10-b1de-64f0a52c9e02';

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let vm: ImageVm;
let main: string;
let all: string;
let weekly: string;
let settings: Record<string, unknown>;
let policy: PolicyResponse;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start({ SENDENSE_EXPIRY_GRACE_SECONDS: '0' });
  client = new BackupClient(system);
  main = await client.createRepository('main', system.repositoryPath);
  const elsewhere = async (name: string): Promise<string> => {
    await mkdir(join(system.directory, name));
    return client.createRepository(name, join(system.directory, name));
  };
  all = await elsewhere('all');
  weekly = await elsewhere('weekly');
  vm = await ImageVm.create(join(system.imageRoot, 'web-1'), [{ file: DISK, mib: 16, dataMib: 8 }]);
  const vmId = await client.registerVm('web-1', vm.folder);
  settings = {
    name: 'copying',
    time_zone: 'Europe/Berlin',
    schedule: 'monthly on 1 at 03:00',
    include: [{ by: 'vm_id', value: vmId }],
    repository_id: main,
    copies: [{ repository_id: all }, { repository_id: weekly, which: 'weekly' }],
  };
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

/** Has the policy back the VM up. @returns the backup, and a copy of what the disk held */
async function runPolicy(): Promise<{ readonly backup: BackupResponse; readonly truth: string }> {
  const truth = (await vm.copyTo(await mkdtemp(join(system.directory, 'truth-')))).get(DISK) ?? '';
  const { body: run } = await system.api<OccurrenceResponse>('POST', `/policies/${policy.policy_id}/run`);
  const done = await until('the run to finish', async () => {
    const { body } = await system.api<{ occurrences: OccurrenceResponse[] }>('GET', `/policies/${policy.policy_id}/occurrences`);
    return body.occurrences.find(({ occurrence_id, finished_at }) => occurrence_id === run.occurrence_id && finished_at !== null);
  });
  const { body: backup } = await system.api<BackupResponse>('GET', `/backups/${done.vms[0]?.backup_id ?? ''}`);
  expect(backup.status).toBe('completed');
  return { backup, truth };
}

async function copies(): Promise<readonly CopyResponse[]> {
  return (await system.api<{ copies: CopyResponse[] }>('GET', '/copies?limit=100')).body.copies;
}

async function copyOf(backupId: string, repositoryId: string): Promise<CopyResponse> {
  return until('the copy to be complete', async () =>
    (await copies()).find(({ backup_id, repository_id, status }) => backup_id === backupId && repository_id === repositoryId && status === 'completed'),
  );
}

describe('a policy with rules for copies', () => {
  it('is refused if it copies to where it backs up, or to nowhere', async () => {
    const refused = (rules: readonly object[]) => client.problem('POST', '/policies', { ...settings, copies: rules });
    expect(await refused([{ repository_id: main }])).toMatchObject({ status: 400, code: 'copy_target_is_source', field: 'copies' });
    expect(await refused([{ repository_id: NOBODY }])).toMatchObject({ status: 404, code: 'repository_not_found', field: 'copies' });
    expect(await refused([{ repository_id: all }, { repository_id: all }])).toMatchObject({ status: 400, code: 'validation_failed' });
    expect(await refused([{ repository_id: all, which: 'hourly' }])).toMatchObject({ status: 400, errors: [{ field: 'copies.0.which' }] });
  });

  it('has each restore point copied that a rule covers, and no other', async () => {
    const created = await system.api<PolicyResponse>('POST', '/policies', settings);
    policy = created.body;
    expect(created).toMatchObject({
      status: 201,
      body: {
        copies: [
          { repository_id: all, which: 'every', with_parents: true, bandwidth_limit_bps: null },
          { repository_id: weekly, which: 'weekly', with_parents: false, bandwidth_limit_bps: null },
        ],
      },
    });
    const first = await runPolicy();
    for (const [repository, name] of [
      [all, 'all'],
      [weekly, 'weekly'],
    ] as const) {
      expect(await copyOf(first.backup.backup_id, repository)).toMatchObject({ policy_id: policy.policy_id });
      await requireSameContent(first.truth, join(system.directory, name, first.backup.folder ?? '', 'disk-0.qcow2'));
    }
    await vm.write(DISK, MIB, MIB);
    const second = await runPolicy();
    expect(second.backup.backup_type).toBe('incremental');
    expect(await copyOf(second.backup.backup_id, all)).toMatchObject({ form: 'identical', parent_backup_id: first.backup.backup_id });
    await requireSameContent(second.truth, join(system.directory, 'all', second.backup.folder ?? '', 'disk-0.qcow2'));
    // The first restore point of the week has its copy already.
    expect((await copies()).map(({ repository_id }) => repository_id).sort()).toEqual([all, all, weekly].sort());
  });

  it('has them copied once, though the hub is killed as soon as the backup has completed', async () => {
    await vm.write(DISK, 2 * MIB, MIB);
    const { backup } = await runPolicy();
    await system.kill('SIGKILL');
    await system.start({ SENDENSE_EXPIRY_GRACE_SECONDS: '0' });
    await copyOf(backup.backup_id, all);
    expect((await copies()).filter(({ backup_id }) => backup_id === backup.backup_id)).toHaveLength(1);
  });

  it('does not have a copy made again that somebody has deleted', async () => {
    const copy = (await copies()).find(({ repository_id }) => repository_id === weekly);
    expect((await system.api('DELETE', `/copies/${copy?.copy_id ?? ''}`)).status).toBe(204);
    await vm.write(DISK, 3 * MIB, MIB);
    const { backup } = await runPolicy();
    await copyOf(backup.backup_id, all);
    expect((await copies()).filter(({ repository_id, status }) => repository_id === weekly && status !== 'deleted')).toEqual([]);
  });

  it('deletes the copies that the retention of their rule does not keep, once no other depends on them', async () => {
    const before = (await copies()).filter(({ repository_id, status }) => repository_id === all && status === 'completed');
    expect(before.length).toBeGreaterThan(2);
    const retention = { keep_last: 1 };
    const edit = {
      ...settings,
      backup_type: 'full',
      copies: [
        { repository_id: all, retention },
        { repository_id: weekly, which: 'weekly' },
      ],
    };
    const refused = await client.problem('PUT', `/policies/${policy.policy_id}`, { ...edit, version: policy.version });
    expect(refused).toMatchObject({ status: 409, code: 'retention_would_expire', expiring: before.length - 1, confirmed: 0 });
    const empty = { ...edit, copies: [{ repository_id: all, retention: {} }], version: policy.version };
    expect(await client.problem('PUT', `/policies/${policy.policy_id}`, empty)).toMatchObject({ status: 400, code: 'retention_empty', field: 'copies' });
    const edited = await system.api<PolicyResponse>('PUT', `/policies/${policy.policy_id}`, {
      ...edit,
      version: policy.version,
      confirm_expiring: before.length,
    });
    expect(edited).toMatchObject({ status: 200, body: { version: policy.version + 1 } });
    policy = edited.body;
    const expired = await until('the older copies to expire', async () => {
      const found = (await copies()).filter(({ repository_id, expiry }) => repository_id === all && expiry !== null);
      return found.length === before.length - 1 && found;
    });
    expect(expired[0]?.expiry).toMatchObject({ policy_version: policy.version, reasons: [{ rule: 'keep_last', outcome: 'exceeded', period: null }] });
    // The newest one depends on them.
    expect(expired.every(({ status }) => status === 'completed')).toBe(true);

    const { backup, truth } = await runPolicy();
    expect(await copyOf(backup.backup_id, all)).toMatchObject({ parent_backup_id: null });
    await until(
      'the older copies to be deleted',
      async () => (await copies()).filter(({ repository_id, status }) => repository_id === all && status === 'completed').length === 1,
    );
    await until(
      'their files to be gone',
      async () => (await readdir(join(system.directory, 'all'), { recursive: true })).filter((file) => file.endsWith(DISK_FILE)).length === 1,
    );
    await requireSameContent(truth, join(system.directory, 'all', backup.folder ?? '', DISK_FILE));
    // None of them is copied again.
    const { body: retained } = await system.api<{ backups: BackupResponse[] }>('GET', '/backups?status=completed');
    expect(retained.backups.length).toBeGreaterThan(before.length);
  });

  it('keeps the repository that it copies into from being deleted', async () => {
    expect(await client.problem('DELETE', `/repositories/${weekly}`)).toMatchObject({ status: 409, detail: expect.stringContaining('copying') });
    const { position: _position, policy_id: _id, version, created_at: _created, edited_at: _edited, ...rest } = policy;
    expect((await system.api('PUT', `/policies/${policy.policy_id}`, { ...rest, copies: [], version })).status).toBe(200);
    expect((await system.api('DELETE', `/repositories/${weekly}`)).status).toBe(204);
  });
});
