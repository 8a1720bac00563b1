import { execFile } from 'node:child_process';
import { access, chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import type { VerificationResponse } from '../../src/hub/backup/verifications/model/verification.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HANGING_FOLDER_TOOLS, HangingFolder } from '../support/hanging-folder.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireCondition, requireTools } from '../support/require-tools.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(120_000);
const { describe } = requireTools('qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo', ...HANGING_FOLDER_TOOLS);
const { it } = requireCondition(process.getuid?.() === 0, 'ntfs-3g mounts for root only');

const run = promisify(execFile);

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let storage: HangingFolder;
let good: string;
let away: string;
let backup: BackupResponse;
/** A folder with a `qemu-img` that waits while `hold-<command>` is there, having made `held`; then it is the real one. */
let tools: string;
/** An image root. */
let images: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_STORAGE_ANSWER_SECONDS: '2', SENDENSE_STALL_AFTER_SECONDS: '2', SENDENSE_FAIL_AFTER_SILENT_SECONDS: '4' },
  });
  storage = await HangingFolder.make(system.directory, 'away', 512);
  images = join(storage.path, 'images');
  await mkdir(images);
  tools = join(system.directory, 'tools');
  await mkdir(tools);
  const real = (await run('which', ['qemu-img'])).stdout.trim();
  const script = `#!/bin/sh
hold='${tools}'/hold-"$1"
if [ -e "$hold" ]; then
  : >'${tools}/held'
  while [ -e "$hold" ]; do sleep 0.05; done
fi
exec '${real}' "$@"
`;
  await writeFile(join(tools, 'qemu-img'), script);
  await chmod(join(tools, 'qemu-img'), 0o755);
  await system.start({ SENDENSE_LOCAL_NODE_IMAGE_ROOTS: `${system.imageRoot}:${images}`, PATH: `${tools}:${process.env['PATH'] ?? ''}` });
  client = new BackupClient(system);
  good = await client.createRepository('good', system.repositoryPath);
  await mkdir(join(storage.path, 'backups'));
  away = await client.createRepository('away', join(storage.path, 'backups'));
  for (const name of ['kept', 'other', 'away']) {
    const folder = join(name === 'away' ? images : system.imageRoot, name);
    await ImageVm.create(folder, [{ file: 'disk0.qcow2', mib: 64, dataMib: 8 }]);
    await client.registerVm(name, folder);
  }
  backup = await client.backUp('kept', away, 'full');
});

afterEach(() => storage.answer());

afterAll(async () => {
  await system.kill('SIGTERM');
  await storage.remove();
  await system.destroy();
  await database.drop();
});

/** What has nothing to do with the file system that hangs goes on. */
async function requireHubAtWork(): Promise<void> {
  for (const path of ['/health/live', '/health/ready', '/backups', '/repositories'])
    expect([path, (await system.api('GET', path)).status]).toEqual([path, 200]);
  await client.backUp('other', good, 'full');
}

async function health(): Promise<object | undefined> {
  const { body } = await system.api<{ checks: { name: string }[] }>('GET', '/health/ready');
  return body.checks.find(({ name }) => name === 'repositories');
}

async function answersAgain(): Promise<void> {
  storage.answer();
  await until('the repository to be used again', async () => (await system.api('GET', `/repositories/${away}/storage`)).status === 200);
  expect(await health()).toMatchObject({ status: 'up' });
}

/** Lets the file system hang while qemu-img is about to work on it, and then lets it. */
async function hangUnder(command: 'convert' | 'check', work: () => Promise<void>): Promise<void> {
  const hold = join(tools, `hold-${command}`);
  await rm(join(tools, 'held'), { force: true });
  await writeFile(hold, '');
  try {
    await work();
    await until(`qemu-img ${command}`, async () => access(join(tools, 'held')).then(() => true));
    storage.hang();
  } finally {
    await rm(hold);
  }
}

const silent = { status: 503, code: 'repository_unavailable', reason: 'silent' };

describe('a repository whose file system hangs', () => {
  it('is told of and refused, however many ask, while the hub works with others; and is used again once it answers', async () => {
    storage.hang();
    const asked = Array.from({ length: 8 }, () => client.refused('kept', away, 'incremental'));
    await until('the health to tell of it', async () => {
      const found = await health();
      return found !== undefined && 'code' in found && found.code === 'repository_unavailable';
    });
    await requireHubAtWork();
    for (const refusal of await Promise.all(asked)) expect(refusal).toMatchObject({ code: 'repository_unavailable' });
    expect(await client.problem('GET', `/repositories/${away}/storage`)).toMatchObject(silent);
    expect(await client.problem('POST', '/repositories/test', { type: 'local', path: join(storage.path, 'new') })).toMatchObject(silent);
    await answersAgain();
  });

  it('fails a backup under way, which is undone once it answers', async () => {
    let backupId = '';
    await hangUnder('convert', async () => {
      backupId = (await client.started('kept', away, 'full')).backup_id;
    });
    const failed = await until('the backup to fail', async () => {
      const found = await client.get(backupId);
      return found.status === 'failed' && found;
    });
    expect(failed.error).toMatchObject({ code: 'repository_unavailable' });
    await answersAgain();
    await client.atRest(backupId);
    await client.requireNothingHeld();
  });

  inLongProof(() => {
    it('gives no verdict on a restore point', async () => {
      const path = `/backups/${backup.backup_id}`;
      await hangUnder('check', async () => {
        expect((await system.api('POST', `${path}/verify`)).status).toBe(202);
      });
      const verification = await until('the verification to be given up', async () => {
        const { body } = await system.api<{ verifications: VerificationResponse[] }>('GET', `${path}/verifications`);
        return body.verifications.find(({ status }) => status !== 'running');
      });
      expect(verification).toMatchObject({ status: 'aborted', findings: [], error: { code: 'repository_unavailable' } });
      await answersAgain();
      expect(await client.get(backup.backup_id)).toMatchObject({ status: 'completed', damage: null });
    });
  });

  inLongProof(() => {
    it('fails a restore into it, which leaves nothing once it answers', async () => {
      const target = join(storage.path, 'restored');
      await mkdir(target);
      const body = { backup_id: (await client.backUp('other', good, 'full')).backup_id, target_path: target, format: 'raw' };
      let jobId = '';
      await hangUnder('convert', async () => {
        jobId = (await system.api<RestoreJobResponse>('POST', '/restore/disks', body)).body.job_id;
      });
      const job = await until('the restore to fail', async () => {
        const found = (await system.api<RestoreJobResponse>('GET', `/restore/jobs/${jobId}`)).body;
        return found.status === 'failed' && found;
      });
      expect(job.error).toMatchObject({ code: 'storage_silent' });
      expect(await client.problem('POST', '/restore/disks', body)).toMatchObject({ status: 503, code: 'storage_silent' });
      await answersAgain();
      await until('nothing to be left', async () => (await readdir(target)).length === 0 && (await system.runRemains()).length === 0);
    });
  });

  inLongProof(() => {
    it('is left out where it holds image folders of a node, whose other VMs are found and backed up', async () => {
      storage.hang();
      const asked = Array.from({ length: 8 }, () => client.refused('away', good, 'full'));
      expect((await Promise.all(asked)).map(({ status }) => status >= 503)).toEqual(asked.map(() => true));
      expect(await client.refused('away', good, 'full')).toMatchObject({ status: 503, code: 'image_root_silent' });
      const { body } = await system.api<{ nodes: { node_id: string }[] }>('GET', '/nodes');
      const found = await system.api<{ vms: { name: string }[] }>('POST', `/nodes/${body.nodes[0]?.node_id ?? ''}/discover`);
      expect(found.body).toMatchObject({ vms: [{ name: 'kept' }, { name: 'other' }] });
      await client.backUp('other', good, 'full');
      storage.answer();
      await until('the folder to be looked into again', async () => (await client.start('away', good, 'full')).status === 202);
      await client.atRest((await client.newest('away')).backup_id);
    });
  });

  inLongProof(() => {
    it('does not hold up the end of the hub, nor its next start', async () => {
      storage.hang();
      const asked = client.refused('kept', away, 'full').catch(() => null);
      await until('the health to tell of it', async () => (await health()) !== undefined);
      expect(await system.kill('SIGTERM')).toBe(0);
      await asked;
      await system.start();
      await requireHubAtWork();
      await answersAgain();
      await client.backUp('kept', away, 'full');
    });
  });
});
