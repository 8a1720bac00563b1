import { execFile } from 'node:child_process';
import { chmod, mkdir, open, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { EventHistoryResponse } from '../../src/hub/operations/http/event-history.js';
import type { RestoreJobResponse } from '../../src/hub/restore/restore-jobs/model/restore-job.response.js';
import { BackupClient } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { mountSmallFileSystem } from '../support/small-file-system.js';

jest.setTimeout(120_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const MIB = 1024 * 1024;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let repository: string;
let vm: ImageVm;
let full: BackupResponse;
let incremental: BackupResponse;
/** What each disk held at the instant of each backup, by backup and disk key. */
const copies = new Map<string, ReadonlyMap<string, string>>();
let folders = 0;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  await system.start();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
  vm = await ImageVm.create(join(system.imageRoot, 'files "and" more'), [
    { file: 'disk0.qcow2', mib: 64, dataMib: 8 },
    { file: 'disk1.qcow2', mib: 32 },
  ]);
  await client.registerVm('pgtest1', vm.folder);
  copies.set('full', await vm.copyTo(join(system.directory, 'copies')));
  full = await client.backUp('pgtest1', repository, 'full');
  await vm.write('disk0.qcow2', 30 * MIB, MIB);
  await vm.write('disk1.qcow2', 0, MIB);
  copies.set('incremental', await vm.copyTo(join(system.directory, 'copies')));
  incremental = await client.backUp('pgtest1', repository, 'incremental');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function newFolder(): Promise<string> {
  const path = join(system.directory, `restore ${folders++}`);
  await mkdir(path);
  return path;
}

async function start(backup: BackupResponse, targetPath: string, more: object = {}): Promise<RestoreJobResponse> {
  const { status, body } = await system.api<RestoreJobResponse>('POST', '/restore/disks', {
    backup_id: backup.backup_id,
    target_path: targetPath,
    format: 'raw',
    ...more,
  });
  if (status !== 202) throw new Error(`answered ${status}: ${JSON.stringify(body)}`);
  return body;
}

async function ended(jobId: string): Promise<RestoreJobResponse> {
  return until(`restore job ${jobId} to end`, async () => {
    const { body } = await system.api<RestoreJobResponse>('GET', `/restore/jobs/${jobId}`);
    return body.cleaned_up ? body : null;
  });
}

async function requireSame(copy: string | undefined, format: string, file: string): Promise<void> {
  await run('qemu-img', ['compare', '-f', 'raw', '-F', format, copy ?? '', file]);
}

describe('restoring whole disks', () => {
  it.each([
    ['full', 'raw'],
    ['incremental', 'raw'],
    ['incremental', 'qcow2'],
    ['incremental', 'vmdk'],
  ])('gives every disk of the %s back as %s, flattened', async (which, format) => {
    const target = await newFolder();
    const job = await start(which === 'full' ? full : incremental, target, { format });
    expect(job).toMatchObject({ status: 'running', vm_name: 'pgtest1', format, files: [] });
    const done = await ended(job.job_id);
    expect(done).toMatchObject({
      status: 'completed',
      error: null,
      progress_percent: 100,
      sources_verified: true,
      files: [0, 1].map((disk) => join(target, `pgtest1-disk${disk}.${format}`)),
    });
    await requireSame(copies.get(which)?.get('disk0.qcow2'), format, join(target, `pgtest1-disk0.${format}`));
    await requireSame(copies.get(which)?.get('disk1.qcow2'), format, join(target, `pgtest1-disk1.${format}`));
    expect((await readdir(target)).sort()).toEqual([`pgtest1-disk0.${format}`, `pgtest1-disk1.${format}`]);
    for (const file of done.files) expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('gives one disk back as a chain of files that stand on each other and can be moved', async () => {
    const target = await newFolder();
    const done = await ended((await start(incremental, target, { format: 'qcow2', chain: 'chain', disks: [0] })).job_id);
    expect(done.files).toEqual([join(target, 'pgtest1-disk0.base1.qcow2'), join(target, 'pgtest1-disk0.qcow2')]);
    await rename(target, `${target} moved`);
    await requireSame(copies.get('incremental')?.get('disk0.qcow2'), 'qcow2', join(`${target} moved`, 'pgtest1-disk0.qcow2'));
    expect((await readdir(`${target} moved`)).sort()).toEqual(['pgtest1-disk0.base1.qcow2', 'pgtest1-disk0.qcow2']);
  });

  it('replaces no file unless told to', async () => {
    const target = await newFolder();
    await writeFile(join(target, 'pgtest1-disk1.raw'), 'precious');
    const request = { backup_id: full.backup_id, target_path: target, format: 'raw' };
    expect(await client.problem('POST', '/restore/disks', request)).toMatchObject({ status: 409, code: 'target_exists', files: ['pgtest1-disk1.raw'] });
    expect(await readFile(join(target, 'pgtest1-disk1.raw'), 'utf8')).toBe('precious');
    expect((await ended((await start(full, target, { overwrite: true })).job_id)).status).toBe('completed');
    await requireSame(copies.get('full')?.get('disk1.qcow2'), 'raw', join(target, 'pgtest1-disk1.raw'));
  });

  it('streams a disk as raw, whole and in ranges', async () => {
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const original = await readFile(copies.get('incremental')?.get('disk0.qcow2') ?? '');
    const get = (range?: string) =>
      fetch(`${system.url()}/api/v1/backups/${incremental.backup_id}/disks/0/download`, {
        headers: { authorization: `Bearer ${token}`, ...(range === undefined ? {} : { range }) },
      });
    const whole = await get();
    expect([whole.status, whole.headers.get('content-length'), whole.headers.get('content-disposition')]).toEqual([
      200,
      String(64 * MIB),
      `attachment; filename="pgtest1-disk0.raw"; filename*=UTF-8''pgtest1-disk0.raw`,
    ]);
    expect(Buffer.from(await whole.arrayBuffer()).equals(original)).toBe(true);
    const [from, to] = [30 * MIB + 77, 31 * MIB + 4];
    const part = await get(`bytes=${from}-${to}`);
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes ${from}-${to}/${64 * MIB}`]);
    expect(Buffer.from(await part.arrayBuffer()).equals(original.subarray(from, to + 1))).toBe(true);
    expect((await get(`bytes=${64 * MIB}-`)).status).toBe(416);
    expect((await system.api('GET', `/backups/${incremental.backup_id}/disks/7/download`)).status).toBe(404);
    const abandoned = await get();
    await abandoned.body?.cancel();
    await until('its programs to be gone', async () => (await system.toolProcesses()).length === 0);
  });

  it('streams a disk as a sound qcow2 file of a known length, and goes on where a download broke off', async () => {
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const get = (headers: Readonly<Record<string, string>> = {}, method = 'GET') =>
      fetch(`${system.url()}/api/v1/backups/${incremental.backup_id}/disks/0/download?format=qcow2`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...headers },
      });
    const length = Number((await get({}, 'HEAD')).headers.get('content-length'));
    const answer = await get();
    expect([answer.status, answer.headers.get('content-length'), answer.headers.get('content-disposition')]).toEqual([
      200,
      String(length),
      expect.stringContaining('filename="pgtest1-disk0.qcow2"'),
    ]);
    const whole = Buffer.from(await answer.arrayBuffer());
    const part = await get({ range: `bytes=${5 * MIB + 3}-` });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes ${5 * MIB + 3}-${length - 1}/${length}`]);
    const file = join(await newFolder(), 'downloaded.qcow2');
    await writeFile(file, Buffer.concat([whole.subarray(0, 5 * MIB + 3), Buffer.from(await part.arrayBuffer())]));
    await run('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
    await requireSame(copies.get('incremental')?.get('disk0.qcow2'), 'qcow2', file);
    expect(length).toBeLessThan(20 * MIB);
  });

  it("gives a job's history as JSON, and live until all is through", async () => {
    const { job_id } = await start(incremental, await newFolder());
    const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
    const live = await fetch(`${system.url()}/api/v1/restore/jobs/${job_id}/events`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
    });
    const names = [...(await live.text()).matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
    const { body } = await system.api<EventHistoryResponse>('GET', `/restore/jobs/${job_id}/events`);
    const types = body.events.map(({ type }) => type);
    expect(names.filter((name) => name !== 'progress')).toEqual(types);
    expect([types[0], ...types.slice(-2)]).toEqual(['RestoreJobRequested', 'RestoreJobCompleted', 'RestoreJobCleanedUp']);
    expect(body.events.map(({ revision }) => revision)).toEqual(types.map((_, index) => index));
    expect(await client.problem('GET', '/restore/jobs/00000000-0000-4000-8000-000000000000/events')).toMatchObject({ code: 'restore_job_not_found' });
  });

  it('lists its jobs, the newest first', async () => {
    const { body } = await system.api<{ jobs: RestoreJobResponse[]; next_cursor: string | null }>('GET', `/restore/jobs?backup_id=${full.backup_id}&limit=1`);
    expect(body.jobs).toHaveLength(1);
    expect(body.jobs[0]).toMatchObject({ overwrite: true, backup_id: full.backup_id });
    expect(body.next_cursor).not.toBeNull();
  });

  it.each([
    ['a folder that is not there', () => ({ target_path: '/nowhere/at all' }), 400, 'target_missing'],
    ['a file as folder', () => ({ target_path: join(system.directory, 'hub-1.log') }), 400, 'target_not_a_folder'],
    ['a folder of the repository', () => ({ target_path: join(system.repositoryPath, incremental.folder ?? '') }), 400, 'target_in_repository'],
    ['a relative path', () => ({ target_path: 'restore' }), 400, 'validation_failed'],
    ['a disk that the backup does not have', () => ({ disks: [2] }), 400, 'restore_disk_not_found'],
    ['a chain of raw files', () => ({ chain: 'chain' }), 400, 'restore_chain_needs_qcow2'],
    ['a backup that nobody knows', () => ({ backup_id: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7aff' }), 404, 'backup_not_found'],
  ])('refuses %s', async (_what, wrong, status, code) => {
    const request = { backup_id: incremental.backup_id, target_path: system.directory, format: 'raw', ...wrong() };
    expect(await client.problem('POST', '/restore/disks', request)).toMatchObject({ status, code });
  });

  it('refuses a target without the space', async () => {
    const small = await mountSmallFileSystem(join(system.directory, 'small'), 6);
    if (small === null) return;
    try {
      expect(await client.problem('POST', '/restore/disks', { backup_id: full.backup_id, target_path: small.path, format: 'raw' })).toMatchObject({
        status: 507,
        code: 'target_full',
      });
      expect(await readdir(small.path)).toEqual([]);
    } finally {
      await small.remove();
    }
  });

  it('names the file and the restore point whose content is not what was sealed, marks it, and leaves nothing behind', async () => {
    const damagedVm = await ImageVm.create(join(system.imageRoot, 'damaged'), [{ file: 'disk0.qcow2', mib: 16 }]);
    await client.registerVm('damaged', damagedVm.folder);
    const backup = await client.backUp('damaged', repository, 'full');
    const file = backup.disk_results[0]?.qcow2_path ?? '';
    await flipByte(file);
    const target = await newFolder();
    const failed = await ended((await start(backup, target)).job_id);
    expect(failed).toMatchObject({ status: 'failed', files: [], error: { code: 'source_damaged' } });
    expect(failed.error?.detail).toContain(file);
    expect(failed.error?.detail).toContain(backup.backup_id);
    expect(await readdir(target)).toEqual([]);
    await until('the chain to show it', async () => {
      const { body } = await system.api<{ damaged: { backup_id: string; code: string }[] }>('GET', '/backups/chain?vm_name=damaged');
      return body.damaged.some(({ backup_id, code }) => backup_id === backup.backup_id && code === 'file_altered');
    });
    expect(await client.backUp('damaged', repository, 'auto')).toMatchObject({ backup_type: 'full', full_reason: 'parent_altered' });

    const known = await until('the backup to show it', async () => {
      const { body } = await system.api<BackupResponse>('GET', `/backups/${backup.backup_id}`);
      return body.damage === null ? null : body;
    });
    expect(known.damage).toMatchObject({
      code: 'file_altered',
      file: join(backup.folder ?? '', 'disk-0.qcow2'),
      verification_id: null,
      caused_by_backup_id: null,
    });
    expect(known.damage?.detail).toContain(file);
    const disk = { backup_id: backup.backup_id, disk_index: 0 };
    for (const [route, request] of [
      ['/restore/disks', { backup_id: backup.backup_id, target_path: target, format: 'raw' }],
      ['/restore/exports', { ...disk, mode: 'read_only' }],
      ['/restore/mount', disk],
    ] as const) {
      expect(await client.problem('POST', route, request)).toMatchObject({ status: 409, code: 'restore_point_damaged', damaged_backup_id: backup.backup_id });
    }
    expect(await client.problem('GET', `/backups/${backup.backup_id}/disks/0/download`)).toMatchObject({ status: 409, code: 'restore_point_damaged' });
  });

  it('restores what it can from a damaged restore point where it is asked to, and says what is not what was sealed', async () => {
    const { body } = await system.api<{ backups: BackupResponse[] }>('GET', '/backups?vm_name=damaged&backup_type=full');
    const backup = body.backups.find(({ damage }) => damage !== null);
    const target = await newFolder();
    const request = { backup_id: backup?.backup_id, target_path: target, format: 'raw', allow_damaged: true };
    const { body: job } = await system.api<RestoreJobResponse>('POST', '/restore/disks', request);
    expect(await ended(job.job_id)).toMatchObject({
      status: 'completed',
      sources_verified: false,
      damaged_sources: [{ backup_id: backup?.backup_id, file: join(backup?.folder ?? '', 'disk-0.qcow2'), detail: expect.stringContaining('SHA-256') }],
    });
    expect((await stat(join(target, 'damaged-disk0.raw'))).size).toBe(16 * MIB);
    const { body: history } = await system.api<EventHistoryResponse>('GET', `/restore/jobs/${job.job_id}/events`);
    expect(history.events[0]?.data).toMatchObject({ allow_damaged: true });
    const exported = await system.api<{ export_id: string }>('POST', '/restore/exports', {
      backup_id: backup?.backup_id,
      disk_index: 0,
      mode: 'read_only',
      allow_damaged: true,
    });
    expect(exported.status).toBe(201);
    await system.api('DELETE', `/restore/exports/${exported.body.export_id}`);
  });

  it('keeps nothing in its run directory', async () => {
    expect(await readdir(join(system.dataDirectory, 'run', 'restore-jobs'))).toEqual([]);
  });
});

/** Changes one byte in the middle, keeping length and mode, as a bad disk would. */
async function flipByte(path: string): Promise<void> {
  const { size } = await stat(path);
  await chmod(path, 0o644);
  const file = await open(path, 'r+');
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, Math.floor(size / 2));
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, Math.floor(size / 2));
  } finally {
    await file.close();
  }
  await chmod(path, 0o444);
}
