import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { FileListDto } from '../../src/hub/restore/restore-mounts/list-files/list-files.dto.js';
import type { RestoreMountResponse } from '../../src/hub/restore/restore-mounts/model/restore-mount.response.js';
import { BackupClient } from '../support/backup-client.js';
import { makeGuestDisk } from '../support/guest-disk.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';

jest.setTimeout(180_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo', 'qemu-storage-daemon', 'losetup', 'mkfs.ext4');

/** How long the hub waits for a mounted file system here. Whoever waits for the hub has far more patience. */
const ANSWER_SECONDS = 2;
const FOLDERS = 8;
const MIB = 1024 * 1024;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let backup: BackupResponse;
/** The process that serves the disk of the mount under test; it is stopped, as one whose storage hangs. */
let server = 0;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_MOUNT_DRIVER: 'fuse', SENDENSE_MOUNT_ANSWER_SECONDS: String(ANSWER_SECONDS), SENDENSE_MOUNT_CLEANUP_INTERVAL_SECONDS: '1' },
  });
  await system.start();
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  // Folders far from each other, so that reading one brings nothing of another into the cache.
  const fill = async (root: string): Promise<void> => {
    for (let folder = 0; folder < FOLDERS; folder++) {
      await mkdir(join(root, `folder${folder}`));
      await writeFile(join(root, `folder${folder}`, 'large'), randomBytes(12 * MIB));
    }
  };
  await makeGuestDisk(join(system.imageRoot, 'guest', 'disk0.qcow2'), { filesystem: 'ext4', table: 'none', mib: 160, fill });
  await client.registerVm('guest', join(system.imageRoot, 'guest'));
  backup = await client.backUp('guest', repository, 'full');
});

/** Whatever became of a test: the next one mounts the same disk. */
afterEach(async () => {
  const { body } = await system.api<{ mounts: RestoreMountResponse[] }>('GET', '/restore/mounts');
  for (const { mount_id } of body.mounts) await system.api('DELETE', `/restore/${mount_id}`);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function mount(): Promise<RestoreMountResponse> {
  const { status, body } = await system.api<RestoreMountResponse>('POST', '/restore/mount', { backup_id: backup.backup_id, disk_index: 0 });
  expect([status, status === 201 ? null : body]).toEqual([201, null]);
  type Usage = { mount_id: string; resources: { kind: string; pid: number | null }[] };
  const { body: resources } = await system.api<{ mounts: Usage[] }>('GET', `/restore/resources?after=${body.position ?? ''}`);
  const pid = resources.mounts.find(({ mount_id }) => mount_id === body.mount_id)?.resources.find(({ kind }) => kind === 'process')?.pid;
  if (pid === undefined || pid === null || pid < 2) throw new Error(`mount ${body.mount_id} names no process`);
  server = pid;
  return body;
}

async function unmountedWithoutRemains({ mount_id }: RestoreMountResponse): Promise<void> {
  expect((await system.api('DELETE', `/restore/${mount_id}`)).status).toBe(204);
  // A reader that hung in the kernel ends a moment after its disk has gone.
  await until('nothing to be left', async () => (await system.mountRemains()).length === 0);
}

async function abandonedCalls({ mount_id }: Pick<RestoreMountResponse, 'mount_id'>): Promise<readonly string[]> {
  type Event = { type: string; data: { operation?: string } };
  const { body } = await system.api<{ events: Event[] }>('GET', `/audit/events?order=oldest_first&limit=200&stream=restoreMount-${mount_id}`);
  return body.events.flatMap(({ type, data }) => (type === 'MountCallAbandoned' ? [data.operation ?? ''] : []));
}

async function download({ mount_id }: RestoreMountResponse, path: string): Promise<Response> {
  const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
  return fetch(`${system.url()}/api/v1/restore/${mount_id}/download?path=${path}`, { headers: { authorization: `Bearer ${token}` } });
}

async function requireHubAnswers(): Promise<void> {
  for (const path of ['/health/live', '/health/ready', '/backups', '/restore/mounts', '/restore/resources', '/restore/cleanup-status']) {
    const { status } = await system.api('GET', path);
    expect([path, status]).toEqual([path, 200]);
  }
}

describe('a mount whose disk has stopped answering', () => {
  it('is given up by whoever asks it, while the hub goes on, and is taken down', async () => {
    const mounted = await mount();
    process.kill(server, 'SIGSTOP');
    const listing = client.problem('GET', `/restore/${mounted.mount_id}/files?path=/folder3`);
    await requireHubAnswers();
    expect(await listing).toMatchObject({ status: 504, code: 'mount_silent', mount_id: mounted.mount_id });
    await until('the event', async () => (await abandonedCalls(mounted)).join() === 'list_files');
    // However often somebody asks, only one reader hangs.
    for (let time = 0; time < 5; time++) {
      expect(await client.problem('GET', `/restore/${mounted.mount_id}/files?path=/folder${time}`)).toMatchObject({ status: 504, code: 'mount_silent' });
    }
    expect((await system.mountRemains()).filter((remains) => remains.startsWith('node')).length).toBeLessThanOrEqual(1);
    await requireHubAnswers();
    await unmountedWithoutRemains(mounted);
  });

  it('is read again once it answers', async () => {
    const mounted = await mount();
    process.kill(server, 'SIGSTOP');
    expect(await client.problem('GET', `/restore/${mounted.mount_id}/files?path=/folder5`)).toMatchObject({ status: 504, code: 'mount_silent' });
    process.kill(server, 'SIGCONT');
    const page = await until('the file system to be read again', async () => {
      const { status, body } = await system.api<FileListDto>('GET', `/restore/${mounted.mount_id}/files?path=/folder5`);
      return status === 200 ? body : null;
    });
    expect(page.files.map(({ name, size }) => [name, size])).toEqual([['large', 12 * MIB]]);
    await unmountedWithoutRemains(mounted);
  });

  it('does not hold a download that has not begun', async () => {
    const mounted = await mount();
    const path = '/folder2/large';
    // What the file is can be told without its disk from now on.
    expect((await system.api('GET', `/restore/${mounted.mount_id}/file-info?path=${path}`)).status).toBe(200);
    process.kill(server, 'SIGSTOP');
    const answer = await download(mounted, path);
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([504, 'mount_silent']);
    await until('the event', async () => (await abandonedCalls(mounted)).join() === 'download');
    await unmountedWithoutRemains(mounted);
  });

  it('cuts off a download under way, so that nobody takes a part for the whole', async () => {
    const mounted = await mount();
    const answer = await download(mounted, '/folder6/large');
    expect(answer.status).toBe(200);
    process.kill(server, 'SIGSTOP');
    const received = await answer.arrayBuffer().then(
      (bytes) => bytes.byteLength,
      () => 'cut off',
    );
    expect(received).toBe('cut off');
    await until('the event', async () => (await abandonedCalls(mounted)).join() === 'download');
    await unmountedWithoutRemains(mounted);
  });

  it('is given up while it is coming about, and leaves nothing', async () => {
    const tools = join(system.directory, 'tools');
    const held = join(tools, 'held');
    await mkdir(tools);
    await writeFile(held, '');
    // The first one that is to serve a disk stops before it has done anything.
    const { stdout: real } = await run('which', ['qemu-storage-daemon']);
    const doorkeeper = `#!/bin/sh\ncase "$*" in *--blockdev*) if rm '${held}' 2>/dev/null; then kill -STOP $$; fi ;; esac\nexec ${real.trim()} "$@"\n`;
    await writeFile(join(tools, 'qemu-storage-daemon'), doorkeeper, { mode: 0o755 });
    await system.kill('SIGTERM');
    await system.start({ SENDENSE_MOUNT_TIMEOUT_SECONDS: '5', PATH: `${tools}:${process.env['PATH'] ?? ''}` });
    const mounting = client.problem('POST', '/restore/mount', { backup_id: backup.backup_id, disk_index: 0 });
    await requireHubAnswers();
    const refused = await mounting;
    expect(refused).toMatchObject({ status: 504, code: 'mount_timed_out' });
    await until('the event', async () => (await abandonedCalls({ mount_id: String(refused['mount_id']) })).join() === 'mount');
    expect([...(await system.mountRemains()), ...(await system.runRemains())]).toEqual([]);
    await until('its slot to be free', async () => (await system.api<{ slots_used: number }>('GET', '/restore/resources')).body.slots_used === 0);
    await unmountedWithoutRemains(await mount());
  });

  it('is taken down by the cleanup when its time is over', async () => {
    await system.kill('SIGTERM');
    await system.start({ SENDENSE_MOUNT_IDLE_SECONDS: '3' });
    const mounted = await mount();
    process.kill(server, 'SIGSTOP');
    await Promise.all([download(mounted, '/folder1/large').catch(() => null), client.problem('GET', `/restore/${mounted.mount_id}/files?path=/folder7`)]);
    await until('its slot to be free', async () => (await system.api<{ slots_used: number }>('GET', '/restore/resources')).body.slots_used === 0);
    await until('nothing to be left', async () => (await system.mountRemains()).length === 0);
    expect(await client.problem('GET', `/restore/${mounted.mount_id}/files`)).toMatchObject({ status: 410, code: 'mount_expired' });
  });
});
