import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, open, readdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import type { FileListDto } from '../../src/hub/restore/restore-mounts/list-files/list-files.dto.js';
import type { RestoreMountResponse } from '../../src/hub/restore/restore-mounts/model/restore-mount.response.js';
import { BackupClient } from '../support/backup-client.js';
import { emptyFile, makeGuestDisk } from '../support/guest-disk.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { asFormat1 } from '../support/sealed-disks.js';
import { mountSmallFileSystem } from '../support/small-file-system.js';
import { ToolGates } from '../support/tool-gates.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(180_000);
const run = promisify(execFile);
const { describe, it } = requireTools(
  ...['qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo', 'qemu-storage-daemon', 'losetup', 'mkfs.ext4', 'debugfs', 'cryptsetup', 'tar'],
);
const MIB = 1024 * 1024;
const DISK = { hostile: 0, empty: 1, encrypted: 2, damaged: 3 } as const;
/** In the file system of 1 KiB blocks: the first 672 can be read, the part of the file's map that finds the others is damaged. */
const READABLE_BYTES = 672 * 1024;
const SLOTS = 2;
const RACES = 16;

let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let backup: BackupResponse;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: { SENDENSE_MOUNT_DRIVER: 'fuse', SENDENSE_MOUNT_SLOTS: String(SLOTS), SENDENSE_MOUNT_CLEANUP_INTERVAL_SECONDS: '1' },
  });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  const folder = join(system.imageRoot, 'unlucky');
  await mkdir(folder);
  await makeHostileDisk(join(folder, 'disk0.qcow2'));
  await makeRawDisks(folder);
  await client.registerVm('unlucky', folder);
  backup = await client.backUp('unlucky', repository, 'full');
});

/** Whatever went wrong: nothing is left, and no slot is taken. */
afterEach(async () => {
  let remains: readonly string[] = [];
  await until('nothing to be left', async () => {
    const { body } = await system.api<{ mounts: RestoreMountResponse[] }>('GET', '/restore/mounts');
    for (const { mount_id } of body.mounts) await system.api('DELETE', `/restore/${mount_id}`);
    remains = [...(await system.mountRemains()), ...(await system.toolProcesses()), ...(await system.runRemains())];
    return body.mounts.length === 0 && remains.length === 0;
  }).catch(() => undefined);
  expect(remains).toEqual([]);
  await until('every slot to be free', async () => (await system.api<{ slots_free: number }>('GET', '/restore/resources')).body.slots_free === SLOTS);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function makeHostileDisk(file: string): Promise<void> {
  await makeGuestDisk(file, { filesystem: 'ext4', table: 'none', mib: 96, fill: fillHostileTree });
  const raw = join(system.directory, 'hostile.raw');
  await run('qemu-img', ['convert', '-O', 'raw', file, raw]);
  await run('debugfs', ['-w', '-R', 'set_inode_field /unreadable block[0] 0', raw]);
  const { stdout: map } = await run('debugfs', ['-R', 'dump_extents -n /torn', raw]);
  const leaf = /^\s*1\/ 2.* 672 -\s+\d+\s+(\d+)/m.exec(map)?.[1];
  if (leaf === undefined) throw new Error(`the map of the file is not as it was meant to be: ${map}`);
  await overwrite(raw, Number(leaf) * 1024, Buffer.alloc(1024, 0xff));
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, file]);
}

async function fillHostileTree(root: string): Promise<void> {
  await writeFile(join(root, 'hostname'), 'unlucky\n');
  await writeFile(join(root, 'large'), Buffer.alloc(64 * MIB, 'large '));
  await writeFile(join(root, 'unreadable'), 'nobody will see this\n');
  await symlink('../../../..', join(root, 'up'));
  await mkdir(join(root, 'folder'));
  await writeFile(join(root, 'folder', 'small'), 'small\n');
  // One that is killed leaves its socket behind.
  const program = 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
  await run(process.execPath, ['-e', program, join(root, 'folder', 'socket')]).catch(() => undefined);
  await run('mkfifo', [join(root, 'folder', 'fifo')]);
  // Every other block, so that its map is a tree.
  const torn = await open(join(root, 'torn'), 'w');
  for (let block = 0; block < 400; block++) await torn.write(Buffer.alloc(1024, 65 + (block % 20)), 0, 1024, block * 2048);
  await torn.close();
}

async function makeRawDisks(folder: string): Promise<void> {
  const file = (name: string): string => join(system.directory, name);
  await emptyFile(file('empty'), 16);
  await emptyFile(file('encrypted'), 32);
  await writeFile(file('key'), 'secret');
  const cheap = ['--type', 'luks2', '--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
  await run('cryptsetup', ['luksFormat', '--batch-mode', ...cheap, file('encrypted'), file('key')]);
  await emptyFile(file('damaged'), 32);
  await run('mkfs.ext4', ['-q', '-F', '-b', '1024', file('damaged')]);
  await overwrite(file('damaged'), 2048, Buffer.alloc(60 * 1024, 0x5a));
  for (const [index, name] of ['empty', 'encrypted', 'damaged'].entries()) {
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', file(name), join(folder, `disk${index + 1}.qcow2`)]);
  }
}

async function overwrite(path: string, at: number, bytes: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, at);
  await file.close();
}

async function mount(of: BackupResponse = backup, disk = 0): Promise<RestoreMountResponse> {
  const { status, body } = await system.api<RestoreMountResponse>('POST', '/restore/mount', { backup_id: of.backup_id, disk_index: disk });
  expect([status, status === 201 ? null : body]).toEqual([201, null]);
  return body;
}

async function fetchFrom({ mount_id }: RestoreMountResponse, query: string, signal?: AbortSignal): Promise<Response> {
  const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
  return fetch(`${system.url()}/api/v1/restore/${mount_id}/${query}`, { headers: { authorization: `Bearer ${token}` }, ...(signal ? { signal } : {}) });
}

async function codeOf(answer: Response): Promise<readonly [number, string]> {
  return [answer.status, ((await answer.json()) as { code: string }).code];
}

async function activeDownloads(): Promise<number> {
  const { body } = await system.api<{ mounts: { active_downloads: number }[] }>('GET', '/restore/resources');
  return body.mounts.reduce((sum, { active_downloads }) => sum + active_downloads, 0);
}

describe('a disk that cannot be browsed', () => {
  it.each([
    ['has no file system', DISK.empty, 'filesystem_not_found'],
    ['is encrypted', DISK.encrypted, 'filesystem_encrypted'],
    ['has a damaged file system', DISK.damaged, 'filesystem_damaged'],
  ])('because it %s is refused with that, and takes no slot', async (_why, disk, code) => {
    const refused = await client.problem('POST', '/restore/mount', { backup_id: backup.backup_id, disk_index: disk });
    expect(refused).toMatchObject({ status: 422, code, partitions: expect.any(Array) });
    expect(await client.problem('GET', `/restore/${String(refused['mount_id'])}/files`)).toMatchObject({ status: 410, code: 'mount_failed', failure: code });
  });
});

describe('a file system with bad places', () => {
  let mounted: RestoreMountResponse;

  it('lists what it can and names what it cannot', async () => {
    mounted = await mount();
    const { body } = await system.api<FileListDto>('GET', `/restore/${mounted.mount_id}/files?path=/`);
    expect(Object.fromEntries(body.files.map(({ name, type }) => [name, type]))).toMatchObject({ hostname: 'file', unreadable: 'unreadable', torn: 'file' });
    expect(await codeOf(await fetchFrom(mounted, 'download?path=/unreadable'))).toEqual([502, 'file_unreadable']);
    expect(await codeOf(await fetchFrom(mounted, 'file-info?path=/unreadable'))).toEqual([502, 'file_unreadable']);
  });

  it('cuts off a file that ends in one, and says in an archive from where on it is not the file', async () => {
    mounted = await mount();
    const answer = await fetchFrom(mounted, 'download?path=/torn');
    expect([answer.status, answer.headers.get('content-length')]).toEqual([200, String(799 * 1024)]);
    await expect(answer.arrayBuffer()).rejects.toThrow();
    expect((await fetchFrom(mounted, `download?path=/torn`)).status).toBe(200);
    const archive = await fetchFrom(mounted, 'download-directory?path=/&format=tar.gz');
    const file = join(system.directory, 'with-bad-places.tar');
    await writeFile(file, gunzipSync(Buffer.from(await archive.arrayBuffer())));
    const note = (await run('tar', ['xOf', file, 'NOT-IN-THIS-ARCHIVE.txt'])).stdout;
    expect(note).toContain(`"/torn": zeros replace its content from byte ${READABLE_BYTES} on`);
    expect(note).toContain('"/unreadable": ');
    expect(note).toContain('"/folder/socket": socket');
    expect(note).toContain('"/folder/fifo": fifo');
    expect((await run('tar', ['xOf', file, 'hostname'])).stdout).toBe('unlucky\n');
  });

  it('offers sockets and FIFOs for no download, and waits for none', async () => {
    mounted = await mount();
    const { body } = await system.api<FileListDto>('GET', `/restore/${mounted.mount_id}/files?path=/folder`);
    expect(body.files.map(({ name, type }) => [name, type])).toEqual([
      ['fifo', 'fifo'],
      ['small', 'file'],
      ['socket', 'socket'],
    ]);
    for (const name of ['fifo', 'socket']) {
      expect(await codeOf(await fetchFrom(mounted, `download?path=/folder/${name}`))).toEqual([409, 'not_a_regular_file']);
    }
  });

  it('leads nowhere by a link in the middle of a path', async () => {
    mounted = await mount();
    for (const route of ['files', 'download', 'file-info', 'download-directory']) {
      const format = route === 'download-directory' ? '&format=zip' : '';
      expect([route, ...(await codeOf(await fetchFrom(mounted, `${route}?path=/up/etc/passwd${format}`)))]).toEqual([route, 403, 'link_leaves_mount']);
    }
  });
});

describe('a download', () => {
  it.each(['download?path=/large', 'download-directory?path=/&format=tar.gz', 'download-directory?path=/&format=zip'])(
    'ends on the server too when its client goes away: %s',
    async (query) => {
      const mounted = await mount();
      const abort = new AbortController();
      const answer = await fetchFrom(mounted, query, abort.signal);
      expect(answer.status).toBe(200);
      await until('the download to run', async () => (await activeDownloads()) === 1);
      abort.abort();
      await until('the download to end', async () => (await activeDownloads()) === 0);
    },
  );

  it('is cut off when what serves its disk dies, and the mount is taken down', async () => {
    const mounted = await mount();
    const answer = await fetchFrom(mounted, 'download?path=/large');
    expect(answer.status).toBe(200);
    type Usage = { resources: { kind: string; pid: number | null }[] };
    const { body } = await system.api<{ mounts: Usage[] }>('GET', `/restore/resources?after=${mounted.position ?? ''}`);
    const pid = body.mounts[0]?.resources.find(({ kind }) => kind === 'process')?.pid ?? 0;
    // A pid of 0 would be the test itself.
    if (pid < 2) throw new Error('the mount names no process');
    process.kill(pid, 'SIGKILL');
    await expect(answer.arrayBuffer()).rejects.toThrow();
    const released = await until('the mount to be taken down', async () => {
      const { mounts } = (await system.api<{ mounts: RestoreMountResponse[] }>('GET', '/restore/mounts?status=released&limit=1000')).body;
      return mounts.find(({ mount_id }) => mount_id === mounted.mount_id) ?? null;
    });
    expect(released.unmount_reason).toBe('hub_cleanup');
    expect(await codeOf(await fetchFrom(mounted, 'files'))).toEqual([410, 'mount_released']);
  });
});

describe('mounts that cannot be had', () => {
  it('are refused while all slots are taken, and had again when one is free', async () => {
    const [, other] = [await mount(), await mountSecondDiskOfAnother()];
    const request = { backup_id: (await anotherPoint()).backup_id, disk_index: 0 };
    const { status, headers, body } = await system.api<{ code: string }>('POST', '/restore/mount', request);
    expect([status, body.code, headers.get('retry-after')]).toEqual([503, 'mount_slots_exhausted', '60']);
    expect((await system.api('DELETE', `/restore/${other.mount_id}`)).status).toBe(204);
    expect((await system.api('POST', '/restore/mount', request)).status).toBe(201);
  });

  it('of a restore point that is known to be damaged are refused with what is wrong', async () => {
    const point = await anotherPoint();
    const file = join(point.path, 'disk-0.qcow2');
    await chmod(file, 0o644);
    const { buffer } = await readAt(file, 2 * MIB);
    await overwrite(file, 2 * MIB, Buffer.from([(buffer[0] ?? 0) ^ 1]));
    await system.api('POST', `/backups/${point.backup_id}/verify`);
    const refused = await until('the verdict', async () => {
      const { status, body } = await system.api<{ code: string; damaged_backup_id: string }>('POST', '/restore/mount', {
        backup_id: point.backup_id,
        disk_index: 0,
      });
      if (status === 201) await system.api('DELETE', `/restore/${(body as unknown as RestoreMountResponse).mount_id}`);
      return status === 409 && body.code === 'restore_point_damaged' ? body : null;
    });
    expect(refused.damaged_backup_id).toBe(point.backup_id);
  });

  inLongProof(() => {
    it('never are of a restore point that is deleted at the same time', async () => {
      const outcomes: string[] = [];
      const points = await importPoints(RACES);
      for (const [round, { backup_id, path }] of points.entries()) {
        const mounting = system.api<RestoreMountResponse & { code?: string }>('POST', '/restore/mount', { backup_id, disk_index: 0 });
        // Files of an imported restore point are read before it is mounted, so the later rounds meet the mount behind that.
        await pause((round % 4) * 60);
        const deleting = system.api<{ code?: string; mount_ids?: string[] } | null>('DELETE', `/backups/${backup_id}`);
        const [mounted, deleted] = await Promise.all([mounting, deleting]);
        outcomes.push(await outcomeOfRace(mounted, deleted, path));
      }
      // And the other order.
      for (const [round, { backup_id, path }] of (await importPoints(RACES)).entries()) {
        const deleting = system.api<{ code?: string; mount_ids?: string[] } | null>('DELETE', `/backups/${backup_id}`);
        await pause((round % 4) * 2);
        const mounting = system.api<RestoreMountResponse & { code?: string }>('POST', '/restore/mount', { backup_id, disk_index: 0 });
        const [mounted, deleted] = await Promise.all([mounting, deleting]);
        outcomes.push(await outcomeOfRace(mounted, deleted, path));
      }
      expect(outcomes.filter((outcome) => outcome !== 'mounted' && outcome !== 'deleted')).toEqual([]);
      // Each was met, or the race was none.
      expect(new Set(outcomes).size).toBe(2);
    });
  });
});

async function outcomeOfRace(
  mounted: { readonly status: number; readonly body: RestoreMountResponse & { readonly code?: string } },
  deleted: { readonly status: number; readonly body: { readonly code?: string; readonly mount_ids?: readonly string[] } | null },
  path: string,
): Promise<string> {
  const there = (await readdir(path).catch(() => [])).length > 0;
  const all = JSON.stringify([mounted.status, mounted.body.code, deleted.status, deleted.body?.code, there]);
  if (mounted.status !== 201) return deleted.status === 204 && !there && [404, 409, 410].includes(mounted.status) ? 'deleted' : all;
  const text = await (await fetchFrom(mounted.body, 'download?path=/hostname')).text();
  await system.api('DELETE', `/restore/${mounted.body.mount_id}`);
  return deleted.status === 409 && deleted.body?.code === 'restore_point_mounted' && there && text === 'found\n' ? 'mounted' : `${all} ${text}`;
}

interface FoundPoint {
  readonly backup_id: string;
  /** The restore point's folder. */
  readonly path: string;
}

let found: FoundPoint | null = null;
let imports = 0;

/** Restore points of VMs of their own, as another hub would have left them: copies of one, each with ids of its own. */
async function importPoints(count: number): Promise<readonly FoundPoint[]> {
  const pattern = await patternPoint();
  const root = join(system.directory, `found-${imports++}`);
  const marker = { format_version: 1, repository_id: randomUUID(), created_at: new Date().toISOString() };
  const points: FoundPoint[] = [];
  for (let index = 0; index < count; index++) {
    const backup_id = randomUUID();
    const path = join(root, `found-${index}-${backup_id.slice(-8)}`, basename(pattern.path));
    await cp(pattern.path, path, { recursive: true, preserveTimestamps: true });
    const manifest = JSON.parse(await readFile(join(path, 'manifest.json'), 'utf8')) as { vm: object };
    const changed = {
      ...asFormat1(manifest),
      repository_id: marker.repository_id,
      backup_id,
      chain_id: randomUUID(),
      vm: { ...manifest.vm, vm_id: randomUUID(), name: `found-${imports}-${index}` },
    };
    await chmod(join(path, 'manifest.json'), 0o644);
    await writeFile(join(path, 'manifest.json'), JSON.stringify(changed));
    points.push({ backup_id, path });
  }
  await writeFile(join(root, '.sendense-repository.json'), JSON.stringify(marker));
  const { status, body } = await system.api<{ imported: string[]; skipped: object[] }>('POST', '/repositories/import', {
    path: root,
    name: `found ${imports}`,
  });
  expect([status, status === 200 ? body.skipped : body]).toEqual([200, []]);
  expect(body.imported).toHaveLength(count);
  return points;
}

async function anotherPoint(): Promise<FoundPoint> {
  const [point] = await importPoints(1);
  if (point === undefined) throw new Error('nothing was imported');
  return point;
}

async function mountSecondDiskOfAnother(): Promise<RestoreMountResponse> {
  const { backup_id } = await anotherPoint();
  const { status, body } = await system.api<RestoreMountResponse>('POST', '/restore/mount', { backup_id, disk_index: 0 });
  expect([status, status === 201 ? null : body]).toEqual([201, null]);
  return body;
}

/** A small restore point that others are copied from. */
async function patternPoint(): Promise<FoundPoint> {
  if (found !== null) return found;
  const folder = join(system.imageRoot, 'pattern');
  const fill = (root: string): Promise<void> => writeFile(join(root, 'hostname'), 'found\n');
  await makeGuestDisk(join(folder, 'disk0.qcow2'), { filesystem: 'ext4', table: 'none', mib: 16, fill });
  await client.registerVm('pattern', folder);
  const made = await client.backUp('pattern', backup.repository_id, 'full');
  found = { backup_id: made.backup_id, path: join(system.repositoryPath, made.folder ?? '') };
  return found;
}

async function readAt(path: string, position: number): Promise<{ readonly buffer: Buffer }> {
  const file = await open(path, 'r');
  try {
    return await file.read(Buffer.alloc(1), 0, 1, position);
  } finally {
    await file.close();
  }
}

describe('a verification', () => {
  it('calls no restore point damaged that was deleted before its turn', async () => {
    const [first, second] = [await anotherPoint(), await anotherPoint()];
    const gate = await gates.hold('qemu-img', 'check');
    try {
      expect((await system.api('POST', `/backups/${first.backup_id}/verify`)).status).toBe(202);
      await gate.reached();
      expect((await system.api('POST', `/backups/${second.backup_id}/verify`)).status).toBe(202);
      expect((await system.api('DELETE', `/backups/${second.backup_id}`)).status).toBe(204);
    } finally {
      await gate.open();
    }
    type Verdict = { status: string; findings: object[]; error: { code: string } | null };
    const verdictOf = ({ backup_id }: FoundPoint): Promise<Verdict> =>
      until('the verdict', async () => {
        const { body } = await system.api<{ verifications: Verdict[] }>('GET', `/backups/${backup_id}/verifications`);
        return body.verifications.find(({ status }) => status !== 'running') ?? null;
      });
    expect(await verdictOf(first)).toMatchObject({ status: 'passed' });
    expect(await verdictOf(second)).toMatchObject({ status: 'aborted', findings: [], error: { code: 'restore_point_deleted' } });
  });
});

describe('a restore of disks', () => {
  const request = (targetPath: string, more: object = {}) => ({ backup_id: backup.backup_id, target_path: targetPath, format: 'raw', ...more });

  async function started(wanted: object): Promise<RestoreJobResponse> {
    const { status, body } = await system.api<RestoreJobResponse>('POST', '/restore/disks', wanted);
    expect([status, status === 202 ? null : body]).toEqual([202, null]);
    return body;
  }

  async function ended(jobId: string): Promise<RestoreJobResponse> {
    return until('the job to be through', async () => {
      const { body } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${jobId}`);
      return body.cleaned_up ? body : null;
    });
  }

  it('gives just the disks that were asked for', async () => {
    const target = join(system.directory, 'some');
    await mkdir(target);
    const body = await started(request(target, { disks: [3, 1], format: 'vmdk' }));
    expect(await ended(body.job_id)).toMatchObject({ status: 'completed' });
    expect((await readdir(target)).sort()).toEqual(['unlucky-disk1.vmdk', 'unlucky-disk3.vmdk']);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'vmdk', join(system.directory, 'damaged'), join(target, 'unlucky-disk3.vmdk')]);
  });

  it('says that its target is full when that fills up meanwhile, and leaves nothing there', async () => {
    const small = await mountSmallFileSystem(join(system.directory, 'small'), 64);
    if (small === null) return;
    try {
      const gate = await gates.hold('qemu-img', 'convert -p');
      const body = await started(request(small.path, { disks: [DISK.encrypted] }));
      await gate.reached();
      await writeFile(join(small.path, 'other'), Buffer.alloc(63 * MIB));
      await gate.open();
      expect(await ended(body.job_id)).toMatchObject({ status: 'failed', error: { code: 'target_full', stage: 'copying' } });
      expect(await readdir(small.path)).toEqual(['other']);
    } finally {
      await gates.openAll();
      await small.remove();
    }
  });

  it('is refused where it may not write', async () => {
    const small = await mountSmallFileSystem(join(system.directory, 'read only'), 16);
    if (small === null) return;
    try {
      await run('mount', ['-o', 'remount,ro', small.path]);
      expect(await client.problem('POST', '/restore/disks', request(small.path, { disks: [1] }))).toMatchObject({ status: 400, code: 'target_not_writable' });
    } finally {
      await small.remove();
    }
  });

  it('ends with what is wrong when a source is cut short, and leaves nothing behind', async () => {
    const point = await anotherPoint();
    const file = join(point.path, 'disk-0.qcow2');
    await chmod(file, 0o644);
    await truncate(file, 3 * 64 * 1024);
    const target = join(system.directory, 'cut short');
    await mkdir(target);
    const body = await started(request(target, { backup_id: point.backup_id }));
    expect(await ended(body.job_id)).toMatchObject({ status: 'failed', error: { code: 'source_damaged', detail: expect.stringContaining(file) } });
    expect(await readdir(target)).toEqual([]);
  });
});
