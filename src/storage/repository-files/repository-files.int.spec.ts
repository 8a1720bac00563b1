import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { FORMAT_2, newSigner, writeDigests } from '../../../test/support/sealed-disks.js';
import { requireCondition, requireTools } from '../../../test/support/require-tools.js';
import { type Manifest, type ManifestDisk, parseManifest } from './manifest.js';
import type { SealedFacts } from './parent-check.js';
import { DIRECT_CALLS } from '../storage-worker/file-calls.js';
import { writeEmptyQcow2 } from '../../lib/qemu/empty-qcow2.js';
import { RepositoryFiles } from './repository-files.js';
import { probeRepositoryPath } from './repository-probe.js';

const run = promisify(execFile);
const files = new RepositoryFiles();
const REPOSITORY = '11111111-1111-4111-8111-111111111111';
const BACKUP = '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c';
const HUB = '33333333-3333-4333-8333-333333333333';
const signer = newSigner(HUB);
const VM = '22222222-2222-5222-8222-22222222beef';
const STARTED = '2026-11-21T10:15:00.123Z';

let root: string;
let repository: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sendense-repository-'));
  repository = join(root, 'repository');
  await mkdir(repository);
  await files.writeMarker(repository, { format_version: 2, repository_id: REPOSITORY, created_at: STARTED, role: 'primary' });
});
afterEach(async () => {
  await run('chmod', ['-R', 'u+rwX', root]);
  await rm(root, { recursive: true, force: true });
});

const folder = `${files.vmFolder('pg test ü', VM)}/${files.restorePointFolder(STARTED, 'full', BACKUP)}`;

async function writeDisk(partial: string, file: string, content: string | Buffer): Promise<ManifestDisk> {
  await writeFile(join(partial, file), content);
  const { mtimeNs, size } = await stat(join(partial, file), { bigint: true });
  return {
    disk_id: 0,
    disk_key: 'disk 0.qcow2',
    file,
    virtual_size_bytes: 1_048_576,
    source_format: 'qcow2',
    change_id: null,
    parent_change_id: null,
    file_size_bytes: Number(size),
    sha256: createHash('sha256').update(content).digest('hex'),
    mtime_ns: mtimeNs.toString(),
    backing_file: null,
    blocks: writeDigests(partial, file, content),
    compression: null,
  };
}

function manifestOf(disks: readonly ManifestDisk[], backupId = BACKUP): Manifest {
  return {
    format_version: 2,
    hub_id: HUB,
    repository_id: REPOSITORY,
    backup_id: backupId,
    backup_type: 'full',
    full_reason: 'first_backup',
    chain_id: '44444444-4444-4444-8444-444444444444',
    parent: null,
    vm: { vm_id: VM, name: 'pg test ü', source: 'image', source_ref: '/images/pg test ü', node_id: 'node-1' },
    instant: STARTED,
    started_at: STARTED,
    sealed_at: STARTED,
    disks,
    definition: null,
    event_position: '2a',
    ledger_checkpoint: null,
    ...FORMAT_2,
    signing_key: signer.key,
  };
}

async function sealOne(content = 'content'): Promise<Manifest> {
  const partial = await files.createPartial(repository, folder);
  const manifest = manifestOf([await writeDisk(partial, 'disk-0.qcow2', content)]);
  await files.seal({ repositoryPath: repository, folder, manifest, signer });
  return manifest;
}

describe('names of folders', () => {
  it("keep the VM's name readable and distinguish VMs of the same name", () => {
    expect(files.vmFolder('pg test ü', VM)).toBe('pg test ü-2222beef');
    expect(files.vmFolder('pg test ü', '22222222-2222-5222-8222-2222222dcafe')).not.toBe(files.vmFolder('pg test ü', VM));
  });

  it('stay inside one folder and under 255 bytes for any name', () => {
    for (const name of ['../../etc', '..', '.partial-x', 'a/b\\c', '\0\n', '界'.repeat(128)]) {
      const made = files.vmFolder(name, VM);
      expect(made).not.toMatch(/[/\\\p{Cc}]|^\./u);
      expect(Buffer.byteLength(made)).toBeLessThanOrEqual(255);
    }
  });

  it('sort restore points by time and differ for backups begun in the same second', () => {
    expect(files.restorePointFolder(STARTED, 'incremental', BACKUP)).toBe('20261121T101500Z-incr-8e1b4a5c');
    expect(files.restorePointFolder(new Date(STARTED), 'full', '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5d')).toBe('20261121T101500Z-full-8e1b4a5d');
    expect(files.partialFolder(folder)).toBe('pg test ü-2222beef/.partial-20261121T101500Z-full-8e1b4a5c');
  });
});

describe('sealing', () => {
  it('turns a partial folder into a read-only restore point that describes itself', async () => {
    const manifest = await sealOne();
    expect(await files.readManifest(repository, folder)).toEqual(manifest);
    expect(await files.listRestorePoints(repository)).toEqual([{ folder, manifest, manifest_sha256: expect.stringMatching(/^[0-9a-f]{64}$/), problem: null }]);
    expect(await files.listPartials(repository)).toEqual([]);
    expect((await readdir(join(repository, folder))).sort()).toEqual(['disk-0.qcow2', 'disk-0.qcow2.sha256-4m', 'manifest.json', 'manifest.json.sig']);
    expect((await stat(join(repository, folder, 'disk-0.qcow2'))).mode & 0o222).toBe(0);
    expect((await stat(join(repository, folder, 'manifest.json'))).mode & 0o222).toBe(0);
    expect((await stat(join(repository, folder))).mode & 0o222).toBe(0);
  });

  it("returns the manifest's hash, and the same hash when repeated", async () => {
    const partial = await files.createPartial(repository, folder);
    const manifest = manifestOf([await writeDisk(partial, 'disk-0.qcow2', 'x')]);
    const first = await files.seal({ repositoryPath: repository, folder, manifest, signer });
    const json = await readFile(join(repository, folder, 'manifest.json'));
    expect(first).toEqual({ manifest_sha256: createHash('sha256').update(json).digest('hex'), already: false });
    const later = { ...manifest, sealed_at: '2026-11-21T11:00:00.000Z' };
    expect(await files.seal({ repositoryPath: repository, folder, manifest: later, signer })).toEqual({ ...first, already: true });
  });

  it('resumes after a crash: files read-only and manifest written, folder not renamed', async () => {
    const manifest = await sealOne();
    await chmod(join(repository, folder), 0o755);
    await rename(join(repository, folder), join(repository, files.partialFolder(folder)));
    await files.createPartial(repository, folder);
    expect((await files.seal({ repositoryPath: repository, folder, manifest, signer })).already).toBe(false);
    expect(await files.readManifest(repository, folder)).toEqual(manifest);
  });

  it("refuses another backup's restore point, a missing file and a different length", async () => {
    const manifest = await sealOne();
    const other = { ...manifest, backup_id: '0193f1de-7c1c-7a2e-8f0c-000000000000' };
    await expect(files.seal({ repositoryPath: repository, folder, manifest: other, signer })).rejects.toThrow(/is the restore point of backup/);

    const second = `${dirname(folder)}/20261121T111500Z-full-8e1b4a5c`;
    const partial = await files.createPartial(repository, second);
    const disk = await writeDisk(partial, 'disk-0.qcow2', 'twelve bytes');
    await truncate(join(partial, 'disk-0.qcow2'), 5);
    await expect(files.seal({ repositoryPath: repository, folder: second, manifest: manifestOf([disk]), signer })).rejects.toThrow(
      'has 5 bytes, but the manifest says 12',
    );
    expect(await files.listRestorePoints(repository)).toHaveLength(1);
    expect(await files.listPartials(repository)).toEqual([second]);
  });
});

describe('deleting', () => {
  it('removes a sealed restore point, then the empty folder of its VM, and may be repeated', async () => {
    await sealOne();
    await files.removeRestorePoint(repository, folder);
    await files.removeRestorePoint(repository, folder);
    expect(await readdir(repository)).toEqual(['.sendense-repository.json']);
  });

  it('removes a partial and leaves the sealed one next to it alone', async () => {
    await sealOne();
    const second = `${dirname(folder)}/20261121T111500Z-incr-8e1b4a5c`;
    await writeFile(join(await files.createPartial(repository, second), 'disk-0.qcow2'), 'half');
    await files.removePartial(repository, second);
    await files.removePartial(repository, second);
    await files.removePartial(repository, folder);
    expect(await files.listPartials(repository)).toEqual([]);
    expect(await files.listRestorePoints(repository)).toHaveLength(1);
  });

  it.each([
    '',
    '..',
    '../x/20261121T101500Z-full-8e1b4a5c',
    'vm',
    'vm/other',
    'vm/../20261121T101500Z-full-8e1b4a5c',
    '/etc/20261121T101500Z-full-8e1b4a5c',
    './20261121T101500Z-full-8e1b4a5c',
  ])('refuses "%s", which is not the folder of a restore point', async (wrong) => {
    await expect(files.removePartial(repository, wrong)).rejects.toThrow('is not the folder of a restore point');
    await expect(files.removeRestorePoint(repository, wrong)).rejects.toThrow('is not the folder of a restore point');
  });

  it('refuses to follow a symbolic link out of the repository', async () => {
    const outside = join(root, 'outside');
    await mkdir(join(outside, '.partial-20261121T101500Z-full-8e1b4a5c'), { recursive: true });
    await symlink(outside, join(repository, 'vm-2222beef'));
    await expect(files.removePartial(repository, 'vm-2222beef/20261121T101500Z-full-8e1b4a5c')).rejects.toThrow("outside the repository's own folder");
    expect(await readdir(outside)).toHaveLength(1);
  });

  it('does not mistake an unmounted file system for "already deleted"', async () => {
    await rm(join(repository, '.sendense-repository.json'));
    await expect(files.removeRestorePoint(repository, folder)).rejects.toMatchObject({ code: 'repository_unavailable', facts: { reason: 'marker_missing' } });
    await expect(files.removePartial(repository, folder)).rejects.toMatchObject({ code: 'repository_unavailable' });
  });
});

describe('a broken manifest', () => {
  it.each([
    ['{', 'it is not JSON'],
    ['[]', 'the document must be an object'],
    ['{"format_version": 3}', 'format_version must be 1 or 2, the versions that this program reads, but is 3'],
  ])('%s is named precisely', async (json, message) => {
    const path = join(repository, folder);
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'manifest.json'), json);
    await expect(files.readManifest(repository, folder)).rejects.toMatchObject({
      kind: 'gone',
      code: 'manifest_broken',
      message: expect.stringContaining(message),
    });
    expect(await files.listRestorePoints(repository)).toEqual([{ folder, manifest: null, manifest_sha256: null, problem: expect.stringContaining(message) }]);
  });

  it("names the disk's member", async () => {
    const manifest = await sealOne();
    const path = join(repository, folder, 'manifest.json');
    const [disk] = manifest.disks;
    await chmod(dirname(path), 0o755);
    await rm(path);
    await writeFile(path, JSON.stringify({ ...manifest, disks: [{ ...disk, sha256: 'abc' }] }));
    await expect(files.readManifest(repository, folder)).rejects.toMatchObject({
      message: expect.stringContaining('disks[0].sha256 must be 64 lower-case hex digits'),
    });
  });

  it.each([
    ['a full whose disk has a backing file', 'full', [['../x/disk-0.qcow2', 'before']], 'disks[0].backing_file must be null in a full'],
    ['a disk with a backing file but without parent_change_id', 'incremental', [['../x/disk-0.qcow2', null]], 'must be set exactly with parent_change_id'],
    ['a disk with parent_change_id but without a backing file', 'incremental', [[null, 'before']], 'must be set exactly with parent_change_id'],
    ['an incremental without any backing file', 'incremental', [[null, null]], 'at least one disk with a backing_file'],
    [
      'an incremental with a new disk',
      'incremental',
      [
        ['../x/disk-0.qcow2', 'before'],
        [null, null],
      ],
      null,
    ],
  ] as const)('%s', async (_what, type, parents, message) => {
    const { disks, ...rest } = await sealOne();
    const parent = type === 'full' ? null : { backup_id: 'x', folder: 'x' };
    const document = {
      ...rest,
      ...{ backup_type: type, full_reason: type === 'full' ? 'requested' : null, parent },
      disks: parents.map(([backing_file, parent_change_id], index) => ({
        ...disks[0],
        file: `disk-${index}.qcow2`,
        backing_file,
        parent_change_id,
        blocks: { ...disks[0]?.blocks, file: `disk-${index}.blocks` },
      })),
    };
    if (message === null) expect(parseManifest(JSON.stringify(document)).disks.map((disk) => disk.backing_file)).toEqual(['../x/disk-0.qcow2', null]);
    else expect(() => parseManifest(JSON.stringify(document))).toThrow(message);
  });

  it('is a missing restore point, but an unavailable repository when the marker is gone too', async () => {
    await expect(files.readManifest(repository, folder)).rejects.toMatchObject({ code: 'restore_point_missing' });
    await rm(join(repository, '.sendense-repository.json'));
    await expect(files.readManifest(repository, folder)).rejects.toMatchObject({ code: 'repository_unavailable' });
  });
});

describe('availability', () => {
  it.each([
    ['path_missing', () => rm(repository, { recursive: true })],
    ['marker_missing', () => rm(join(repository, '.sendense-repository.json'))],
    ['marker_unreadable', () => overwriteMarker('{')],
    ['marker_of_another_repository', () => overwriteMarker(JSON.stringify({ format_version: 1, repository_id: 'other', created_at: STARTED }))],
  ])('says %s', async (reason, breakIt) => {
    await expect(files.checkAvailable(REPOSITORY, repository)).resolves.toBeUndefined();
    await breakIt();
    await expect(files.checkAvailable(REPOSITORY, repository)).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'repository_unavailable',
      facts: { reason },
    });
  });

  it('never creates the folder of a repository whose file system is not mounted', async () => {
    await rm(repository, { recursive: true });
    await expect(files.createPartial(repository, folder)).rejects.toMatchObject({ code: 'repository_unavailable' });
  });

  async function overwriteMarker(json: string): Promise<void> {
    await rm(join(repository, '.sendense-repository.json'));
    await writeFile(join(repository, '.sendense-repository.json'), json);
  }
});

describe('a sealed file', () => {
  let path: string;
  let sealed: SealedFacts;
  let content: Buffer;
  const place = { file: 'disk-0.qcow2', below: null, proven: null };
  beforeEach(async () => {
    path = join(root, 'disk-0.qcow2');
    await writeEmptyQcow2(path, 1_048_576);
    content = await readFile(path);
    const disk = await writeDisk(root, 'disk-0.qcow2', content);
    sealed = { size_bytes: disk.file_size_bytes, sha256: disk.sha256, mtime_ns: disk.mtime_ns };
  });

  it('is sound as sealed, and after being copied', async () => {
    expect(await files.checkParent(root, sealed, place)).toEqual({ kind: 'sound' });
    await utimes(path, new Date(0), new Date(0));
    expect(await files.checkParent(root, sealed, place)).toEqual({ kind: 'sound' });
  });

  it.each([
    ['parent_missing', () => rm(path)],
    [
      'parent_missing',
      () =>
        rm(path)
          .then(() => rm(root, { recursive: true }))
          .then(() => writeFile(root, '')),
    ],
    ['parent_truncated', () => truncate(path, 300)],
    ['parent_altered', () => writeFile(path, Buffer.concat([content.subarray(0, -1), Buffer.of(7)]))],
    ['parent_altered', () => appendFile(path, 'more')],
    ['parent_altered', () => rm(path).then(() => mkdir(path))],
  ])('is %s', async (code, damage) => {
    await damage();
    expect(await files.checkParent(root, sealed, place)).toMatchObject({ kind: 'damaged', code });
  });
});

describe('probing a path', () => {
  const failed = async (path: string, others: readonly string[] = []): Promise<string[]> =>
    (await probeRepositoryPath(() => DIRECT_CALLS, path, others, null)).checks.filter((check) => !check.ok).map((check) => check.name);

  it('accepts an empty folder, measures it and leaves nothing behind', async () => {
    const path = join(root, 'fresh');
    await mkdir(path);
    const probe = await probeRepositoryPath(() => DIRECT_CALLS, path, [], null);
    expect(probe).toMatchObject({ ok: true, marker_repository_id: null });
    expect(probe.checks.map((check) => check.name)).toEqual(['absolute_path', 'exists', 'directory', 'separate', 'unused', 'writable']);
    expect(probe.total_bytes).toBeGreaterThanOrEqual(probe.free_bytes ?? Infinity);
    expect(await readdir(path)).toEqual([]);
  });

  it('refuses unusable paths and names the failed check', async () => {
    await writeFile(join(root, 'file'), '');
    expect(await failed('relative')).toEqual(['absolute_path']);
    expect(await failed('/')).toEqual(['absolute_path']);
    expect(await failed(join(root, 'nowhere'))).toEqual(['exists']);
    expect(await failed(join(root, 'file'))).toEqual(['directory']);
    expect(await failed(repository)).toEqual(['unused']);
  });

  it('refuses overlaps with known repositories, through symbolic links too, and with unknown ones by their marker', async () => {
    const inside = join(repository, 'inside');
    await mkdir(inside);
    await symlink(inside, join(root, 'link'));
    expect(await failed(inside)).toEqual(['separate']);
    expect(await failed(join(root, 'link'), [repository])).toEqual(['separate']);
    expect(await failed(root, [repository])).toEqual(['separate']);
    expect(await failed(repository, [repository])).toEqual(['separate', 'unused']);
  });
});

const tools = requireTools('mkfs.ext4', 'mount', 'umount', 'losetup');
const asRoot = requireCondition(process.getuid?.() === 0, 'a loop mount needs root');
const loop = tools.skipped === null ? asRoot : tools;

loop.describe('on a small separate file system', () => {
  let mounted: string;
  beforeEach(async () => {
    const image = join(root, 'image');
    mounted = join(root, 'mounted');
    await mkdir(mounted);
    await writeFile(image, '');
    await truncate(image, 8 * 1024 * 1024);
    await run('mkfs.ext4', ['-q', '-m', '0', image]);
    await run('mount', ['-o', 'loop', image, mounted]);
    await files.writeMarker(mounted, { format_version: 2, repository_id: REPOSITORY, created_at: STARTED, role: 'primary' });
  });
  afterEach(async () => {
    await run('umount', [mounted]);
  });

  loop.it('reports repository_full when the manifest has no space left, and leaves a partial that can be removed', async () => {
    const partial = await files.createPartial(mounted, folder);
    const disk = await writeDisk(partial, 'disk-0.qcow2', 'x');
    await fill(join(partial, 'filler'));
    await expect(files.seal({ repositoryPath: mounted, folder, manifest: manifestOf([disk]), signer })).rejects.toMatchObject({
      kind: 'storage_full',
      code: 'repository_full',
    });
    expect(await files.listRestorePoints(mounted)).toEqual([]);
    await files.removePartial(mounted, folder);
    expect(await files.listPartials(mounted)).toEqual([]);
    expect(await files.freeBytes(mounted)).toBeGreaterThan(1024 * 1024);
  });

  loop.it('reports a full one as not writable when probed', async () => {
    await rm(join(mounted, '.sendense-repository.json'));
    await fill(join(mounted, 'filler'));
    const probe = await probeRepositoryPath(() => DIRECT_CALLS, mounted, [], null);
    expect(probe.checks.find((check) => check.name === 'writable')).toMatchObject({ ok: false, detail: expect.stringContaining('ENOSPC') });
    expect((await readdir(mounted)).sort()).toEqual(['filler', 'lost+found']);
  });

  loop.it('detects one that is mounted read-only, and one that is not mounted', async () => {
    await run('mount', ['-o', 'remount,ro', mounted]);
    await expect(files.checkAvailable(REPOSITORY, mounted)).rejects.toMatchObject({ facts: { reason: 'not_writable' } });
    await expect(files.createPartial(mounted, folder)).rejects.toMatchObject({ code: 'repository_unavailable', facts: { errno: 'EROFS' } });
    await run('umount', [mounted]);
    await expect(files.checkAvailable(REPOSITORY, mounted)).rejects.toMatchObject({ facts: { reason: 'marker_missing' } });
    await run('mount', ['-o', 'loop', join(root, 'image'), mounted]);
  });

  async function fill(path: string): Promise<void> {
    const block = Buffer.alloc(4096, 'x');
    // A sync releases space that was only reserved for delayed allocation, so filling continues after it.
    for (const size of [64 * 4096, 4096, 1024, 1024]) {
      await run('sync', ['-f', mounted]);
      for (;;) {
        try {
          await writeFile(path, Buffer.alloc(size, block), { flag: 'a' });
        } catch {
          break;
        }
      }
    }
  }
});
