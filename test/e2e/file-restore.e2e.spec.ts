import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, copyFile, lchown, mkdir, readdir, readFile, readlink, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { mountCommand } from '../../src/cli/mount/mount.program.js';
import { runCommand } from '../../src/cli/terminal/command.js';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { FileListDto } from '../../src/hub/restore/restore-mounts/list-files/list-files.dto.js';
import type { RestoreMountResponse } from '../../src/hub/restore/restore-mounts/model/restore-mount.response.js';
import { BackupClient } from '../support/backup-client.js';
import { changeGuestDisk, makeGuestDisk } from '../support/guest-disk.js';
import { requireCauses } from '../support/event-causes.js';
import { HubSystem, until } from '../support/hub-system.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(180_000);
const run = promisify(execFile);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'nbdcopy', 'nbdinfo', 'qemu-storage-daemon', 'losetup', 'sfdisk', 'mkfs.ext4', 'debugfs', 'tar');

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let full: BackupResponse;
let incremental: BackupResponse;
/** What the guest held at the first instant, and at the second. */
let before: string;
let after: string;

const NEWLINE = 'new\nline "quoted"';
const INVALID = Buffer.concat([Buffer.from('inv'), Buffer.from([0xff]), Buffer.from('alid')]);

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env: { SENDENSE_MOUNT_DRIVER: 'fuse', SENDENSE_MOUNT_SLOTS: '2' } });
  await system.start();
  client = new BackupClient(system);
  const repository = await client.createRepository('main', system.repositoryPath);
  before = join(system.directory, 'before');
  after = join(system.directory, 'after');
  await mkdir(before);
  await fillHostileTree(before);
  const disk = join(system.imageRoot, 'guest', 'disk0.qcow2');
  await makeGuestDisk(disk, { filesystem: 'ext4', table: 'gpt', mib: 64, fill: (root) => copyTree(before, root) });
  await client.registerVm('guest', join(system.imageRoot, 'guest'));
  full = await client.backUp('guest', repository, 'full');
  await changeGuestDisk(disk, 'gpt', async (root) => {
    await writeFile(join(root, 'etc', 'hostname'), 'changed\n');
    await rm(join(root, 'data', 'small'));
    await writeFile(join(root, 'data', 'added'), 'only in the second point\n');
  });
  await copyTree(before, after);
  await writeFile(join(after, 'etc', 'hostname'), 'changed\n');
  incremental = await client.backUp('guest', repository, 'incremental');
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

async function fillHostileTree(root: string): Promise<void> {
  await mkdir(join(root, 'etc'));
  await writeFile(join(root, 'etc', 'hostname'), 'guest\n');
  await mkdir(join(root, 'data', 'empty'), { recursive: true });
  await writeFile(join(root, 'data', 'small'), 'small\n');
  await writeFile(join(root, 'data', 'zero'), '');
  await writeFile(join(root, 'data', 'large'), randomBytes(3 * 1024 * 1024 + 17));
  await writeFile(join(root, 'data', 'script'), '#!/bin/sh\n');
  await lchown(join(root, 'data', 'script'), 1234, 4321);
  await chmod(join(root, 'data', 'script'), 0o4751);
  await utimes(join(root, 'data', 'script'), 1_000_000_000, 1_000_000_000);
  await writeFile(join(root, 'data', `${'long'.repeat(60)}.txt`), 'a long name\n');
  await writeFile(join(root, 'data', 'grüße 日本'), 'unicode\n');
  await symlink('small', join(root, 'data', 'link'));
  await mkdir(join(root, 'hostile'));
  await writeFile(join(root, 'hostile', NEWLINE), 'odd\n');
  await writeFile(Buffer.concat([Buffer.from(`${root}/hostile/`), INVALID]), 'bytes\n');
  await symlink('/etc/shadow', join(root, 'hostile', 'absolute'));
  await symlink('../../../../../../etc/shadow', join(root, 'hostile', 'climbing'));
  await symlink('/etc/hostname', join(root, 'hostile', 'inside'));
  await symlink('loop', join(root, 'hostile', 'loop'));
  await run('mkfifo', [join(root, 'hostile', 'fifo')]);
  await run('mknod', [join(root, 'hostile', 'disk'), 'b', '7', '0']);
  await run('mknod', [join(root, 'hostile', 'zeros'), 'c', '1', '5']);
}

async function copyTree(from: string, to: string): Promise<void> {
  await run('cp', ['-a', `${from}/.`, to]);
}

async function mount(backup: BackupResponse, partition?: number): Promise<RestoreMountResponse> {
  const request = { backup_id: backup.backup_id, disk_index: 0, ...(partition === undefined ? {} : { partition }) };
  const { status, body } = await system.api<RestoreMountResponse>('POST', '/restore/mount', request);
  expect([status, status === 201 ? null : body]).toEqual([201, null]);
  return body;
}

async function unmount({ mount_id }: RestoreMountResponse): Promise<void> {
  expect((await system.api('DELETE', `/restore/${mount_id}`)).status).toBe(204);
}

async function fetchFrom(path: string, headers: Readonly<Record<string, string>> = {}, method = 'GET'): Promise<Response> {
  const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
  return fetch(`${system.url()}/api/v1${path}`, { method, headers: { authorization: `Bearer ${token}`, ...headers } });
}

function download({ mount_id }: RestoreMountResponse, path: string, headers: Readonly<Record<string, string>> = {}, method = 'GET'): Promise<Response> {
  return fetchFrom(`/restore/${mount_id}/download?path=${encodeURIComponent(path)}`, headers, method);
}

/** Standard output and error of `sendense mount`, in this process. */
async function printedBy(argv: readonly string[]): Promise<{ readonly code: number; readonly printed: string }> {
  let printed = '';
  const keep = (text: string | Uint8Array): boolean => {
    printed += text.toString();
    return true;
  };
  const writes = [jest.spyOn(process.stdout, 'write').mockImplementation(keep), jest.spyOn(process.stderr, 'write').mockImplementation(keep)];
  try {
    return { code: await runCommand(mountCommand({}), argv), printed };
  } finally {
    for (const write of writes) write.mockRestore();
  }
}

async function textOf(mounted: RestoreMountResponse, path: string): Promise<string> {
  const answer = await download(mounted, path);
  expect(answer.status).toBe(200);
  return answer.text();
}

async function list({ mount_id }: RestoreMountResponse, path: string, more = ''): Promise<FileListDto> {
  const { status, body } = await system.api<FileListDto>('GET', `/restore/${mount_id}/files?path=${encodeURIComponent(path)}${more}`);
  expect([status, status === 200 ? null : body]).toEqual([200, null]);
  return body;
}

describe('two restore points of one disk', () => {
  let old: RestoreMountResponse;
  let newer: RestoreMountResponse;

  beforeAll(async () => {
    [old, newer] = await Promise.all([mount(full), mount(incremental)]);
  });

  afterAll(async () => {
    await Promise.all([unmount(old), unmount(newer)]);
    expect(await system.mountRemains()).toEqual([]);
  });

  it('are mounted side by side, and say what they are', async () => {
    expect(old).toMatchObject({ backup_id: full.backup_id, disk_index: 0, partition: 1, status: 'mounted', driver: 'fuse', filesystem_type: 'ext4' });
    expect(old.partitions).toMatchObject([{ number: 1, filesystem_type: 'ext4', start_bytes: 1024 * 1024 }]);
    const { body } = await system.api<{ mounts: RestoreMountResponse[] }>('GET', `/restore/mounts?after=${newer.position ?? ''}`);
    expect(body.mounts.map(({ mount_id }) => mount_id).sort()).toEqual([old.mount_id, newer.mount_id].sort());
  });

  it('show each its own instant', async () => {
    expect(await textOf(old, '/etc/hostname')).toBe('guest\n');
    expect(await textOf(newer, '/etc/hostname')).toBe('changed\n');
    expect(await textOf(old, 'data/small')).toBe('small\n');
    expect((await download(newer, '/data/small')).status).toBe(404);
    expect(await textOf(newer, '/data/added')).toBe('only in the second point\n');
  });

  it('are refused a second time, with the mount there is, and a third where slots are spent', async () => {
    const again = await client.problem('POST', '/restore/mount', { backup_id: full.backup_id, disk_index: 0 });
    expect(again).toMatchObject({ status: 409, code: 'disk_already_mounted', mount_id: old.mount_id });
    const { body } = await system.api<{ slots_free: number; mounts: { resources: { alive: boolean | null }[] }[] }>('GET', '/restore/resources');
    expect(body).toMatchObject({ slots_total: 2, slots_used: 2, slots_free: 0, mount_driver: 'fuse' });
    expect(body.mounts.every(({ resources }) => resources.every(({ alive }) => alive !== false))).toBe(true);
  });

  it('keep their restore point from being deleted', async () => {
    const refused = await client.problem('DELETE', `/backups/${incremental.backup_id}`);
    expect(refused).toMatchObject({ status: 409, code: 'restore_point_mounted', mount_ids: [newer.mount_id] });
  });

  it('are read-only on the host, and can neither run nor lend anything', async () => {
    const { stdout } = await run('findmnt', ['--noheadings', '--output', 'OPTIONS', old.mount_path ?? '']);
    expect(stdout.trim().split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec', 'nosymfollow', 'norecovery']));
  });

  it('list a folder with every kind of file, and never open what is not one', async () => {
    const { files, total_count } = await list(old, '/hostile');
    expect(total_count).toBe(9);
    const types = Object.fromEntries(files.map(({ name, type }) => [name, type]));
    expect(types).toEqual({
      absolute: 'symlink',
      climbing: 'symlink',
      disk: 'block_device',
      fifo: 'fifo',
      inside: 'symlink',
      'inv%FFalid': 'file',
      loop: 'symlink',
      [NEWLINE]: 'file',
      zeros: 'char_device',
    });
    for (const name of ['disk', 'fifo', 'zeros']) {
      const answer = await download(old, `/hostile/${name}`);
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([409, 'not_a_regular_file']);
    }
  });

  it('follow links within the guest and none out of it', async () => {
    expect(await textOf(old, '/hostile/inside')).toBe('guest\n');
    for (const [name, status, code] of [
      ['climbing', 403, 'link_leaves_mount'],
      ['absolute', 404, 'file_not_found'],
      ['loop', 409, 'link_loop'],
    ] as const) {
      const answer = await download(old, `/hostile/${name}`);
      expect([name, answer.status, ((await answer.json()) as { code: string }).code]).toEqual([name, status, code]);
    }
    const { body } = await system.api('GET', `/restore/${old.mount_id}/file-info?path=/hostile/climbing`);
    expect(body).toMatchObject({ type: 'symlink', is_symlink: true, link_target: '../../../../../../etc/shadow' });
  });

  it.each([
    ['plain', 'path=../../etc/shadow', 400],
    ['in the middle', 'path=/etc/../../../etc/shadow', 400],
    ['percent-encoded', 'path=%2e%2e%2f%2e%2e%2fetc%2fshadow', 400],
    ['twice percent-encoded', 'path=%252e%252e%252fetc%252fshadow', 404],
    ['percent-encoded names', 'path=%252e%252e/etc/shadow&name_encoding=percent', 400],
    ['a slash in a percent-encoded name', 'path=etc%252f..%252f..&name_encoding=percent', 400],
    ['overlong UTF-8', 'path=%c0%ae%c0%ae/etc/shadow', 404],
    ['a NUL', 'path=/etc/hostname%00.txt', 400],
    ['a percent-encoded NUL', 'path=/etc/hostname%2500&name_encoding=percent', 400],
    ['backslashes', 'path=..%5c..%5cetc%5cshadow', 404],
  ])('refuse a path that climbs: %s', async (_name, query, status) => {
    for (const route of ['files', 'file-info', 'download', 'download-directory']) {
      const answer = await fetchFrom(`/restore/${old.mount_id}/${route}?${query}${route === 'download-directory' ? '&format=zip' : ''}`);
      expect([route, answer.status]).toEqual([route, status]);
      expect(await answer.text()).not.toContain('root:');
    }
  });

  it('give names that are no UTF-8, and names with newlines and quotes, there and back', async () => {
    const answer = await fetchFrom(`/restore/${old.mount_id}/download?path=${encodeURIComponent('/hostile/inv%FFalid')}&name_encoding=percent`);
    expect([answer.status, await answer.text()]).toEqual([200, 'bytes\n']);
    const odd = await download(old, `/hostile/${NEWLINE}`);
    expect(odd.headers.get('content-disposition')).toBe(`attachment; filename="new_line _quoted_"; filename*=UTF-8''new_line%20%22quoted%22`);
    expect(await odd.text()).toBe('odd\n');
    expect((await download(old, '/data/grüße 日本')).headers.get('content-disposition')).toContain(`filename*=UTF-8''gr%C3%BC%C3%9Fe%20%E6%97%A5%E6%9C%AC`);
  });

  it('serve ranges', async () => {
    const large = await readFile(join(before, 'data', 'large'));
    const whole = await download(old, '/data/large');
    expect(whole.headers.get('content-length')).toBe(String(large.length));
    expect(sha256(Buffer.from(await whole.arrayBuffer()))).toBe(sha256(large));
    for (const [range, expected, header] of [
      ['bytes=0-0', large.subarray(0, 1), `bytes 0-0/${large.length}`],
      ['bytes=1000000-1999999', large.subarray(1_000_000, 2_000_000), `bytes 1000000-1999999/${large.length}`],
      ['bytes=-5', large.subarray(-5), `bytes ${large.length - 5}-${large.length - 1}/${large.length}`],
      [`bytes=${large.length - 3}-`, large.subarray(-3), `bytes ${large.length - 3}-${large.length - 1}/${large.length}`],
    ] as const) {
      const answer = await download(old, '/data/large', { range });
      expect([answer.status, answer.headers.get('content-range')]).toEqual([206, header]);
      expect(Buffer.from(await answer.arrayBuffer()).equals(expected)).toBe(true);
    }
    const beyond = await download(old, '/data/large', { range: `bytes=${large.length}-` });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${large.length}`]);
    const empty = await download(old, '/data/zero');
    expect([empty.status, empty.headers.get('content-length'), await empty.text()]).toEqual([200, '0', '']);
    const head = await download(old, '/data/large', {}, 'HEAD');
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(large.length)]);
  });

  it.each(['tar.gz', 'zip'] as const)('give a folder as %s with names, modes, times and links', async (format) => {
    const answer = await fetchFrom(`/restore/${old.mount_id}/download-directory?path=/&format=${format}`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-disposition')).toContain(`guest-disk0.${format}`);
    const archive = join(system.directory, `archive.${format}`);
    const target = join(system.directory, `extracted-${format}`);
    await writeFile(archive, Buffer.from(await answer.arrayBuffer()));
    await mkdir(target);
    if (format === 'zip') await run('python3', ['-c', EXTRACT_ZIP, archive, target]);
    else await run('tar', ['xzpf', archive, '-C', target]);
    for (const path of ['etc/hostname', 'data/large', 'data/zero', `data/${'long'.repeat(60)}.txt`, 'data/grüße 日本', `hostile/${NEWLINE}`]) {
      expect([path, sha256(await readFile(join(target, path)))]).toEqual([path, sha256(await readFile(join(before, path)))]);
    }
    expect(await readlink(join(target, 'hostile', 'absolute'))).toBe('/etc/shadow');
    const note = await readFile(join(target, 'NOT-IN-THIS-ARCHIVE.txt'), 'utf8');
    expect(note).toContain('"/hostile/fifo": fifo');
    expect(note).toContain('"/hostile/disk": block_device');
    if (format === 'tar.gz') {
      expect(await readFile(Buffer.concat([Buffer.from(`${target}/hostile/`), INVALID]), 'utf8')).toBe('bytes\n');
      const { stdout } = await run('stat', ['--format=%a %u %g %Y', join(target, 'data', 'script')]);
      expect(stdout.trim()).toBe('751 1234 4321 1000000000');
    }
  });

  it('list a whole tree in pages', async () => {
    const all = await list(old, '/', '&recursive=true&limit=1000');
    const paged: string[] = [];
    let cursor = '';
    for (;;) {
      const page = await list(old, '/', `&recursive=true&limit=3${cursor}`);
      paged.push(...page.files.map(({ path }) => path));
      expect(page.total_count).toBe(all.files.length);
      if (page.next_cursor === null) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    expect(paged).toEqual(all.files.map(({ path }) => path));
    expect(paged).toContain(`/hostile/${NEWLINE}`);
    const { stdout } = await run('find', [before, '-mindepth', '1', '-printf', 'x']);
    // lost+found is there too.
    expect(all.files).toHaveLength(stdout.length + 1);
  });

  it('leave an event of every look and every download, with who, what and how much', async () => {
    const since = new Date().toISOString();
    await list(old, '/etc');
    await list(old, '/etc', '&limit=1');
    await system.api('GET', `/restore/${old.mount_id}/file-info?path=/data/link`);
    await textOf(old, '/hostile/inside');
    await (await download(old, '/data/large', { range: 'bytes=10-19' })).arrayBuffer();
    await (await fetchFrom(`/restore/${old.mount_id}/download-directory?path=/etc&format=zip`)).arrayBuffer();
    const disk = await (await fetchFrom(`/backups/${full.backup_id}/disks/0/download`)).arrayBuffer();
    await download(old, '/nowhere');
    const accesses = await until('five accesses and the ends of four', async () => {
      const query = `category=access&stream=access-${full.backup_id}&actor=api:token&since=${since}&order=oldest_first`;
      const { body } = await system.api<{ events: { type: string; data: Record<string, unknown> }[] }>('GET', `/audit/events?${query}`);
      return body.events.filter(({ type }) => type === 'RestorePointAccessEnded').length === 4 ? body.events : undefined;
    });
    const begun = accesses.filter(({ type }) => type === 'RestorePointAccessed').map(({ data }) => data);
    const [looked] = begun;
    expect(begun.map(({ operation, path, resolved_path, options }) => [operation, path, resolved_path, options])).toEqual([
      ['list_files', '/etc', '/etc', {}],
      ['file_info', '/data/link', '/data/link', {}],
      ['download', '/hostile/inside', '/etc/hostname', {}],
      ['download', '/data/large', '/data/large', { range: '10-19' }],
      ['download_directory', '/etc', '/etc', { format: 'zip' }],
      ['download_disk', null, null, { format: 'raw' }],
    ]);
    expect(looked).toMatchObject({ mount_id: old.mount_id, vm_name: 'guest', source_address: '127.0.0.1' });
    const ended = accesses.filter(({ type }) => type === 'RestorePointAccessEnded').map(({ data }) => data);
    const sent = begun.slice(2).map(({ access_id }) => ended.find((end) => end['access_id'] === access_id));
    expect(sent.map((end) => end?.['outcome'])).toEqual(['completed', 'completed', 'completed', 'completed']);
    expect([sent[0], sent[1], sent[3]].map((end) => end?.['bytes_sent'])).toEqual([6, 10, disk.byteLength]);
  });

  it('are listed and downloaded by the command line, which replaces no file unasked and leaves no part of one', async () => {
    const folder = join(system.directory, 'downloaded');
    await mkdir(folder);
    const sendense = (...argv: readonly string[]): Promise<{ readonly code: number; readonly printed: string }> =>
      printedBy([...argv, '--hub', system.url(), '--token-file', join(system.dataDirectory, 'api.token')]);
    expect((await sendense('files', newer.mount_id, '/data')).printed).toMatch(/^file +0644 +25 bytes +\S+ +\/data\/added$/m);
    expect((await sendense('files', newer.mount_id, '/hostile')).printed).toContain('/hostile/inv%FFalid  (--name-encoding percent)');
    expect(await sendense('get', newer.mount_id, '/etc/hostname', '--to', join(folder, 'hostname'))).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, 'hostname'), 'utf8')).toBe('changed\n');
    expect(await sendense('get', old.mount_id, '/etc/hostname', '--to', join(folder, 'hostname'))).toMatchObject({
      code: 1,
      printed: expect.stringContaining('--overwrite'),
    });
    expect(await sendense('get', old.mount_id, '/etc/hostname', '--to', join(folder, 'hostname'), '--overwrite')).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, 'hostname'), 'utf8')).toBe('guest\n');
    expect(await sendense('get', old.mount_id, '/data', '--to', join(folder, 'data.tar.gz'))).toMatchObject({ code: 0 });
    expect((await run('tar', ['-tzf', join(folder, 'data.tar.gz')])).stdout).toContain('data/small\n');
    expect(await sendense('get', old.mount_id, '/hostile/absolute', '--to', join(folder, 'shadow'))).toMatchObject({ code: 1 });
    expect((await readdir(folder)).sort()).toEqual(['data.tar.gz', 'hostname']);
  });

  it('lose nothing when clients go away', async () => {
    const since = new Date().toISOString();
    const size = (await stat(join(before, 'data', 'large'))).size;
    const aborts = Array.from({ length: 5 }, async () => {
      const abort = new AbortController();
      const token = (await readFile(join(system.dataDirectory, 'api.token'), 'utf8')).trim();
      const answer = await fetch(`${system.url()}/api/v1/restore/${old.mount_id}/download?path=/data/large`, {
        headers: { authorization: `Bearer ${token}` },
        signal: abort.signal,
      });
      expect(answer.status).toBe(200);
      abort.abort();
    });
    await Promise.all(aborts);
    await until('the downloads to end', async () => {
      const { body } = await system.api<{ mounts: { active_downloads: number }[] }>('GET', '/restore/resources');
      return body.mounts.every(({ active_downloads }) => active_downloads === 0);
    });
    const ends = await until('the ends of the downloads to be recorded', async () => {
      const query = `stream=access-${full.backup_id}&type=RestorePointAccessEnded&since=${since}`;
      const { body } = await system.api<{ events: { data: { outcome: string; bytes_sent: number } }[] }>('GET', `/audit/events?${query}`);
      return body.events.length === 5 ? body.events.map(({ data }) => data) : undefined;
    });
    // The sockets between hub and client may have taken all of the file before the client was gone.
    expect(ends.filter(({ outcome, bytes_sent }) => outcome !== 'cut' && !(outcome === 'completed' && bytes_sent === size))).toEqual([]);
  });
});

describe('the life of a mount', () => {
  it('ends once, and is told apart from one that never was', async () => {
    const mounted = await mount(full);
    await unmount(mounted);
    await unmount(mounted);
    expect(await client.problem('GET', `/restore/${mounted.mount_id}/files?path=/`)).toMatchObject({ status: 410, code: 'mount_released' });
    expect(await client.problem('GET', '/restore/0199a3c4-0000-7000-8000-000000000000/files')).toMatchObject({ status: 404, code: 'mount_not_found' });
    expect(await client.problem('DELETE', '/restore/0199a3c4-0000-7000-8000-000000000000')).toMatchObject({ status: 404, code: 'mount_not_found' });
    expect(await system.mountRemains()).toEqual([]);
  });

  it('is refused for what is not there', async () => {
    for (const [body, status, code] of [
      [{ backup_id: '0199a3c4-0000-7000-8000-000000000000', disk_index: 0 }, 404, 'backup_not_found'],
      [{ backup_id: full.backup_id, disk_index: 7 }, 404, 'disk_not_found'],
      [{ backup_id: full.backup_id, disk_index: 0, partition: 9 }, 404, 'partition_not_found'],
      [{ backup_id: full.backup_id, disk_index: -1 }, 400, 'validation_failed'],
    ] as const) {
      expect(await client.problem('POST', '/restore/mount', body)).toMatchObject({ status, code });
    }
    expect(await system.mountRemains()).toEqual([]);
  });

  it('is the same for the same Idempotency-Key', async () => {
    const request = { backup_id: full.backup_id, disk_index: 0 };
    const first = await system.api<RestoreMountResponse>('POST', '/restore/mount', request, { 'idempotency-key': 'once' });
    const second = await system.api<RestoreMountResponse>('POST', '/restore/mount', request, { 'idempotency-key': 'once' });
    expect([second.status, second.body.mount_id]).toEqual([201, first.body.mount_id]);
    await unmount(first.body);
  });

  it('goes on through the death of its hub', async () => {
    const mounted = await mount(full);
    expect(await textOf(mounted, '/etc/hostname')).toBe('guest\n');
    await system.kill('SIGKILL');
    await system.start();
    expect(await textOf(mounted, '/etc/hostname')).toBe('guest\n');
    await unmount(mounted);
    expect(await system.mountRemains()).toEqual([]);
  });

  inLongProof(() => {
    it.each([0, 5, 15, 30, 60, 100])('leaves nothing of a mount whose hub dies %d ms into mounting it', async (delayMs) => {
      const pending = system.api('POST', '/restore/mount', { backup_id: full.backup_id, disk_index: 0 }).catch(() => null);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await system.kill('SIGKILL');
      await pending;
      await system.start();
      await requireAtRest();
    });
  });

  inLongProof(() => {
    it.each([0, 5, 15, 40])('leaves nothing of a mount whose hub dies %d ms into unmounting it', async (delayMs) => {
      const mounted = await mount(full);
      const pending = system.api('DELETE', `/restore/${mounted.mount_id}`).catch(() => null);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await system.kill('SIGKILL');
      await pending;
      await system.start();
      await requireAtRest();
    });
  });

  it('is taken down with a disk that has stopped answering, and its readers are told', async () => {
    const mounted = await mount(full);
    const server = await serverOf(mounted);
    process.kill(server, 'SIGSTOP');
    const answer = download(mounted, '/data/large').then(
      (response) => response.status,
      () => 'cut off',
    );
    await unmount(mounted);
    expect(await answer).not.toBe(200);
    expect(await system.mountRemains()).toEqual([]);
    expect((await system.api('GET', '/health/live')).status).toBe(200);
  });

  it('ends when nobody has used it for long, and each use puts that off', async () => {
    await system.kill('SIGTERM');
    await system.start({ SENDENSE_MOUNT_IDLE_SECONDS: '5', SENDENSE_MOUNT_CLEANUP_INTERVAL_SECONDS: '1' });
    const mounted = await mount(full);
    const deadline = async (): Promise<number> => {
      const { body } = await system.api<{ mounts: RestoreMountResponse[] }>('GET', '/restore/mounts');
      return Date.parse(body.mounts.find(({ mount_id }) => mount_id === mounted.mount_id)?.expires_at ?? '');
    };
    const first = Date.parse(mounted.expires_at ?? '');
    await until('its use to put its end off', async () => {
      expect(await textOf(mounted, '/etc/hostname')).toBe('guest\n');
      return (await deadline()) > first;
    });
    await until(
      'the mount to expire',
      async () => (await system.api('GET', `/restore/mounts?status=released`)).status === 200 && (await system.mountRemains()).length === 0,
    );
    expect(await client.problem('GET', `/restore/${mounted.mount_id}/files`)).toMatchObject({ status: 410, code: 'mount_expired' });
    const status = await until('the cleanup to report it', async () => {
      const { body } = await system.api<{ last_run: { failures: string[] } | null }>('GET', '/restore/cleanup-status');
      return body.last_run !== null ? body : null;
    });
    expect(status).toMatchObject({ interval_seconds: 1, idle_limit_seconds: 5, last_run: { failures: [] } });
    await system.kill('SIGTERM');
    await system.start();
  });

  inLongProof(() => {
    it('stands aside for what is mounted by others below its folder, and removes what is nobody else’s', async () => {
      const mounted = await mount(full);
      const foreign = join(system.directory, 'foreign.raw');
      await copyFile('/dev/null', foreign);
      await run('truncate', ['-s', '1M', foreign]);
      const { stdout } = await run('losetup', ['--find', '--show', foreign]);
      await system.kill('SIGKILL');
      await system.start();
      await unmount(mounted);
      const { stdout: devices } = await run('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE']);
      expect(devices).toContain(foreign);
      await run('losetup', ['--detach', stdout.trim()]);
    });
  });
});

it('records a command and an actor for every mount, look, download, end and refusal', async () => {
  expect((await fetch(`${system.url()}/api/v1/vms`, { headers: { authorization: 'Bearer wrong' } })).status).toBe(401);
  const types = [
    'MountRequested',
    'MountAccessed',
    'MountReleased',
    'RestorePointAccessed',
    'RestorePointAccessEnded',
    'DiskTransferCompleted',
    'RequestsRefused',
  ];
  await until('the refusal to be recorded', async () => (await system.api<{ events: unknown[] }>('GET', '/audit/events?type=RequestsRefused')).body.events[0]);
  await requireCauses(system, types);
});

/** The process that shows the mount's disk. */
async function serverOf({ mount_id, position }: RestoreMountResponse): Promise<number> {
  type Usage = { mount_id: string; resources: { kind: string; pid: number | null }[] };
  const { body } = await system.api<{ mounts: Usage[] }>('GET', `/restore/resources?after=${position ?? ''}`);
  const pid = body.mounts.find((each) => each.mount_id === mount_id)?.resources.find(({ kind }) => kind === 'process')?.pid;
  // A pid of 0 would be the test itself.
  if (pid === undefined || pid === null || pid < 2) throw new Error(`mount ${mount_id} names no process`);
  return pid;
}

/** Every mount has come to an end or stands whole, and after its end nothing of it is left. */
async function requireAtRest(): Promise<void> {
  const mounts = await until('the mounts to come to rest', async () => {
    const { body } = await system.api<{ mounts: RestoreMountResponse[] }>('GET', '/restore/mounts');
    return body.mounts.every(({ status }) => status === 'mounted') ? body.mounts : null;
  });
  for (const mounted of mounts) {
    expect(await textOf(mounted, '/etc/hostname')).toBe('guest\n');
    await unmount(mounted);
  }
  await until('nothing to be left', async () => (await system.mountRemains()).length === 0).catch(() => undefined);
  expect(await system.mountRemains()).toEqual([]);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Python's own extraction makes a file of a link. */
const EXTRACT_ZIP = `
import os, stat, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if stat.S_ISLNK(mode):
            target = os.path.join(sys.argv[2], info.filename)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(archive.read(info).decode(), target)
        else:
            archive.extract(info, sys.argv[2])
`;
