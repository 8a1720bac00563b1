import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { BackupClient } from '../support/backup-client.js';
import { makeGuestDisk } from '../support/guest-disk.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

const PAGE = resolve(import.meta.dirname, '../../docs/rest.md');
const RESTORE_PAGE = resolve(import.meta.dirname, '../../docs/restore.md');
const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdkit', 'nbdcopy', 'nbdinfo', 'curl');

describe('the commands of docs/rest.md', () => {
  let database: TestDatabase;
  let system: HubSystem;

  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    system = await HubSystem.create({ databaseUrl: database.databaseUrl });
    await system.start();
  }, 120_000);
  afterAll(async () => {
    await system.destroy();
    await database.drop();
  }, 60_000);

  it('work from top to bottom, from a hub that has just been started and nothing else', async () => {
    const page = await readFile(PAGE, 'utf8');
    const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, commands]) => commands ?? '');
    expect(blocks.length).toBeGreaterThan(5);
    const environment = {
      HUB: system.url(),
      TOKEN: (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim(),
      IMAGES: system.imageRoot,
      REPOSITORY_PATH: join(system.directory, 'new', 'backups'),
      RESTORE_PATH: join(system.directory, 'new', 'restore'),
    };
    const { status, text } = await shell(`set -eu -o pipefail\n${blocks.join('\necho\n')}`, environment);
    expect({ status, text }).toMatchObject({ status: 0 });
    expect(text).not.toContain('application/problem+json');
    for (const seen of [
      'event: RestorePointSealed',
      '"full_reason":"first_backup"',
      '"backup_count":1',
      '"status":"ready"',
      'sendense_backups',
      'event: RestoreJobCompleted',
    ]) {
      expect(text).toContain(seen);
    }
  }, 120_000);
});

const mounting = requireTools('qemu-storage-daemon', 'losetup', 'mkfs.ext4', 'sfdisk', 'debugfs');

mounting.describe('the commands of docs/restore.md that need a hub', () => {
  let database: TestDatabase;
  let system: HubSystem;

  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    system = await HubSystem.create({ databaseUrl: database.databaseUrl });
    await system.start();
    const folder = join(system.imageRoot, 'pgtest1');
    const fill = async (root: string): Promise<void> => {
      await mkdir(join(root, 'etc'));
      await writeFile(join(root, 'etc/hostname'), 'pgtest1\n');
    };
    await makeGuestDisk(join(folder, 'disk0.qcow2'), { filesystem: 'ext4', table: 'gpt', mib: 32, fill });
    const client = new BackupClient(system);
    await client.registerVm('pgtest1', folder);
    await client.backUp('pgtest1', await client.createRepository('main', system.repositoryPath), 'full');
  }, 120_000);
  afterAll(async () => {
    await system.destroy();
    await database.drop();
  }, 60_000);

  mounting.it(
    'work from top to bottom, and what they restore is there',
    async () => {
      const page = await readFile(RESTORE_PAGE, 'utf8');
      const blocks = [...page.matchAll(/^ *```sh hub\n([\s\S]*?)^ *```$/gm)].map(([, commands]) => commands ?? '');
      expect(blocks.length).toBeGreaterThan(12);
      const restored = join(system.directory, 'restored');
      const environment = { HUB: system.url(), TOKEN: (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim() };
      const script = blocks.join('\necho\n').replaceAll('/srv/restore', restored);
      const { status, text } = await shell(`set -eu -o pipefail\n${script}`, environment);
      expect({ status, text }).toMatchObject({ status: 0 });
      for (const seen of ['"name":"hostname"', 'event: RestoreJobCompleted', 'etc/hostname', 'No errors were found', '"verification_id"'])
        expect(text).toContain(seen);
      expect(await readFile(join(restored, 'hostname'), 'utf8')).toBe('pgtest1\n');
      expect((await readdir(restored)).sort()).toEqual(['downloaded.qcow2', 'etc.tar.gz', 'export.json', 'hostname', 'kept.raw', 'pgtest1-disk0.raw']);
      const { body } = await system.api<{ mounts: unknown[] }>('GET', '/restore/mounts');
      expect(body.mounts).toEqual([]);
    },
    120_000,
  );
});

async function shell(script: string, environment: Readonly<Record<string, string>>): Promise<{ readonly status: number | null; readonly text: string }> {
  const child = spawn('bash', ['-s'], { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
  child.stdin.end(script);
  await until('the commands to end', () => Promise.resolve(child.exitCode !== null || child.signalCode !== null), 90_000);
  return { status: child.exitCode, text };
}
