import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/restore-jobs/model/restore-job.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(240_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

let database: TestDatabase;
let system: HubSystem;
let backup: BackupResponse;
let content: ReadonlyMap<string, string>;
let folders = 0;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  const client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'pgtest1'), [
    { file: 'disk0.qcow2', mib: 32 },
    { file: 'disk1.qcow2', mib: 16 },
  ]);
  await client.registerVm('pgtest1', vm.folder);
  content = await vm.copyTo(join(system.directory, 'copies'));
  backup = await client.backUp('pgtest1', repository, 'full');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

describe('a hub killed during a restore', () => {
  it.each([
    'after:RestoreJobRequested:1',
    'before:DiskRestoreCopied:1',
    'after:DiskRestoreCopied:2',
    'before:DiskRestoreCompared:1',
    'after:RestoreSourcesVerified:1',
    'after:DiskRestoreCompared:2',
    'before:RestoreJobCompleted:1',
    'after:RestoreJobCompleted:1',
    'before:RestoreJobCleanedUp:1',
  ])('%s, brings it to its end when it starts again, and leaves nothing else', async (failpoint) => {
    await system.kill('SIGTERM');
    await system.start({ SENDENSE_FAILPOINT: failpoint });
    const target = join(system.directory, `restore-${folders++}`);
    await mkdir(target);
    // The answer of a hub that is killed meanwhile may never come.
    await system.api('POST', '/restore/disks', { backup_id: backup.backup_id, target_path: target, format: 'raw' }).catch(() => undefined);
    await system.ended();
    await system.start();
    const job = await until('the job to be through', async () => {
      const { body } = await system.api<{ jobs: RestoreJobResponse[] }>('GET', '/restore/jobs?limit=1000');
      return body.jobs.find(({ target_path, cleaned_up }) => target_path === target && cleaned_up) ?? null;
    });
    expect(job).toMatchObject({ status: 'completed', error: null });
    expect((await readdir(target)).sort()).toEqual(['pgtest1-disk0.raw', 'pgtest1-disk1.raw']);
    for (const disk of [0, 1]) {
      await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', content.get(`disk${disk}.qcow2`) ?? '', join(target, `pgtest1-disk${disk}.raw`)]);
    }
    expect(await readdir(join(system.dataDirectory, 'run', 'restore-jobs'))).toEqual([]);
  });
});
