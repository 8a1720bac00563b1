import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');

let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let backup: BackupResponse;
let folders = 0;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  const vm = await ImageVm.create(join(system.imageRoot, 'pgtest1'), [{ file: 'disk0.qcow2', mib: 16 }]);
  await client.registerVm('pgtest1', vm.folder);
  backup = await client.backUp('pgtest1', repository, 'full');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function start(): Promise<{ readonly jobId: string; readonly target: string }> {
  const target = join(system.directory, `restore-${folders++}`);
  await mkdir(target);
  const { body } = await system.api<RestoreJobResponse>('POST', '/restore/disks', { backup_id: backup.backup_id, target_path: target, format: 'raw' });
  return { jobId: body.job_id, target };
}

async function ended(jobId: string): Promise<RestoreJobResponse> {
  return until('the job to be through', async () => {
    const { body } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${jobId}`);
    return body.cleaned_up ? body : null;
  });
}

describe('a restore that does not come to a good end', () => {
  it('is cancelled, which stops its program and removes what it has written', async () => {
    const gate = await gates.hold('qemu-img', 'convert -p');
    const { jobId, target } = await start();
    await gate.reached();
    expect(await client.problem('DELETE', `/backups/${backup.backup_id}`)).toMatchObject({ code: 'restore_point_in_use', used_by: [`restore job ${jobId}`] });
    expect((await system.api('POST', `/restore/jobs/${jobId}/cancel`)).status).toBe(202);
    expect(await ended(jobId)).toMatchObject({ status: 'cancelled', files: [] });
    await gate.open();
    expect(await readdir(target)).toEqual([]);
    expect(await client.problem('POST', `/restore/jobs/${(await finished()).job_id}/cancel`)).toMatchObject({ status: 409, code: 'restore_job_already_ended' });
  });

  async function finished(): Promise<RestoreJobResponse> {
    const { jobId } = await start();
    const job = await ended(jobId);
    expect(job.status).toBe('completed');
    return job;
  }

  it.each([
    ['No space left on device', 'target_full'],
    ['Read-only file system', 'target_not_writable'],
    ['something else', 'copy_failed'],
  ])('says why when its program fails with "%s", and leaves nothing behind', async (message, code) => {
    const heal = await gates.fail('qemu-img', 'convert -p', 1, message);
    const { jobId, target } = await start();
    expect(await ended(jobId)).toMatchObject({ status: 'failed', error: { code, stage: 'copying' } });
    await heal();
    expect(await readdir(target)).toEqual([]);
  });

  it('does not pass content that reads otherwise than the restore point', async () => {
    const heal = await gates.fail('qemu-img', 'compare -p', 1, 'Content mismatch at offset 0!');
    const { jobId, target } = await start();
    expect(await ended(jobId)).toMatchObject({ status: 'failed', error: { code: 'restored_content_differs', stage: 'checking' } });
    await heal();
    expect(await readdir(target)).toEqual([]);
  });

  it('never replaces a file that came there while it ran', async () => {
    const gate = await gates.hold('qemu-img', 'compare -p');
    const { jobId, target } = await start();
    await gate.reached();
    await writeFile(join(target, 'pgtest1-disk0.raw'), 'precious');
    await gate.open();
    expect(await ended(jobId)).toMatchObject({ status: 'failed', error: { code: 'target_exists', stage: 'publishing' } });
    expect(await readdir(target)).toEqual(['pgtest1-disk0.raw']);
  });

  it('goes on over a kill of the hub, with the program that runs', async () => {
    const gate = await gates.hold('qemu-img', 'convert -p');
    const { jobId, target } = await start();
    await gate.reached();
    await system.kill('SIGKILL');
    await gate.open();
    await system.start({ PATH: gates.path });
    expect(await ended(jobId)).toMatchObject({ status: 'completed' });
    expect(await readdir(target)).toEqual(['pgtest1-disk0.raw']);
  });
});
