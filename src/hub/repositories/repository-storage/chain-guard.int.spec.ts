import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, link, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FORMAT_2 } from '../../../../test/support/sealed-disks.js';
import { requireTools } from '../../../../test/support/require-tools.js';
import { FileHasher } from '../../../storage/hashing/file-hasher.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import type { SealedFile } from '../../../storage/repository-files/chain-check.plan.js';
import { ChainGuard } from './chain-guard.js';
import type { Manifest, ManifestDisk } from '../../../storage/repository-files/manifest.js';
import { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../../storage/repository-files/restore-point-verifier.js';

const run = promisify(execFile);
const FULL = 'vm-00000000/20261121T101500Z-full-00000001';
const INCREMENTAL = 'vm-00000000/20261121T111500Z-incr-00000002';
const MIB = 1024 * 1024;
const SECRET = 'a secret of the host';

const gated = requireTools('qemu-img', 'qemu-io', 'mkfifo');

gated.describe('files of a restore point, before they are opened', () => {
  let root: string;
  let repository: string;
  let secret: string;
  let hashed: string[];
  let sealed: [SealedFile, SealedFile];
  const files = new RepositoryFiles();
  class CountingHasher extends FileHasher {
    override async sha256(path: string, signal?: AbortSignal): Promise<string> {
      hashed.push(path);
      return super.sha256(path, signal);
    }
  }
  const hasher = new CountingHasher();
  let guard: ChainGuard;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'sendense-guard-'));
    repository = join(root, 'repository');
    secret = join(root, 'secret');
    hashed = [];
    await writeFile(secret, SECRET.padEnd(MIB, '.'), { mode: 0o600 });
    await mkdir(join(repository, FULL), { recursive: true });
    await mkdir(join(repository, INCREMENTAL), { recursive: true });
    await files.writeMarker(repository, {
      format_version: 1,
      repository_id: '11111111-1111-4111-8111-111111111111',
      created_at: '2026-11-21T10:15:00.000Z',
      role: 'primary',
    });
    await create(FULL);
    await create(INCREMENTAL, '-b', `../20261121T101500Z-full-00000001/disk-0.qcow2`, '-F', 'qcow2');
    sealed = [await asSealed(FULL), await asSealed(INCREMENTAL)];
    guard = new ChainGuard(files, hasher, new ProvenFiles(join(root, 'proven')));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const pathOf = (folder: string): string => join(repository, folder, 'disk-0.qcow2');

  async function create(folder: string, ...options: readonly string[]): Promise<void> {
    await rm(pathOf(folder), { force: true });
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, pathOf(folder), `${MIB}`]);
  }

  /** Written as an attacker would describe the file: the hash is always right. */
  async function asSealed(folder: string): Promise<SealedFile> {
    // Reading a pipe would never end.
    if (!(await stat(pathOf(folder))).isFile()) throw new Error('not a file');
    const content = await readFile(pathOf(folder));
    return {
      backup_id: folder.slice(-8),
      file: `${folder}/disk-0.qcow2`,
      size_bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    };
  }

  function open(chain: readonly SealedFile[] = sealed, allowDamaged = false): Promise<readonly string[]> {
    return guard.open(repository, chain, { allowDamaged, patienceMs: 60_000 });
  }

  async function manifestOf(folder: string): Promise<Manifest> {
    const { size_bytes, sha256 } = await asSealed(folder);
    const incremental = folder === INCREMENTAL;
    const disk: ManifestDisk = {
      disk_id: 0,
      disk_key: 'vda',
      file: 'disk-0.qcow2',
      virtual_size_bytes: MIB,
      source_format: 'qcow2',
      change_id: 'b',
      parent_change_id: incremental ? 'a' : null,
      file_size_bytes: size_bytes,
      sha256,
      mtime_ns: '0',
      backing_file: incremental ? '../20261121T101500Z-full-00000001/disk-0.qcow2' : null,
      blocks: null,
      compression: null,
    };
    return {
      format_version: 1,
      hub_id: 'hub',
      repository_id: '11111111-1111-4111-8111-111111111111',
      backup_id: folder.slice(-8),
      backup_type: incremental ? 'incremental' : 'full',
      full_reason: incremental ? null : 'requested',
      chain_id: 'chain',
      parent: incremental ? { backup_id: '00000001', folder: FULL } : null,
      vm: { vm_id: 'vm', name: 'vm', source: 'image', source_ref: '/vm', node_id: 'node' },
      instant: '2026-11-21T10:15:00.000Z',
      started_at: '2026-11-21T10:15:00.000Z',
      sealed_at: '2026-11-21T10:15:00.000Z',
      disks: [disk],
      definition: null,
      event_position: '1',
      ledger_checkpoint: null,
      ...FORMAT_2,
    };
  }

  /** Files that an attacker can create, with a manifest whose hash and length match the file. */
  const HOSTILE: readonly [string, string, (folder: string) => Promise<void>][] = [
    ['a full backup backed by a file of the host', 'backing_file_differs', (folder) => create(folder, '-b', secret, '-F', 'raw')],
    [
      'a backing file of another format',
      'backing_file_differs',
      (folder) => create(folder, '-u', '-b', '../20261121T101500Z-full-00000001/disk-0.qcow2', '-F', 'raw'),
    ],
    [
      'a backing file given as JSON',
      'header_refused',
      (folder) => create(folder, '-u', '-b', `json:{"driver":"raw","file":{"driver":"file","filename":"${secret}"}}`, '-F', 'raw'),
    ],
    [
      'data in a file of the host',
      'header_refused',
      async (folder) => {
        const data = join(root, 'data');
        await create(folder, '-o', `data_file=${data},data_file_raw=on`);
        // The header contains its name, and the file is in its place.
        await rename(secret, data);
      },
    ],
    [
      'encryption',
      'header_refused',
      // Not LUKS: qemu-img first measures how fast it derives keys, which fails now and then on a machine under load.
      (folder) => create(folder, '--object', 'secret,id=s,data=x', '-o', 'encrypt.format=aes,encrypt.key-secret=s'),
    ],
    [
      'a symbolic link to the disk of another repository',
      'not_a_regular_file',
      async (folder) => {
        await rename(pathOf(folder), join(root, 'other.qcow2'));
        await symlink(join(root, 'other.qcow2'), pathOf(folder));
      },
    ],
    [
      'a hard link to the disk of another repository',
      'several_links',
      async (folder) => {
        await link(pathOf(folder), join(root, 'other.qcow2'));
      },
    ],
    [
      'a folder that is a symbolic link',
      'leads_elsewhere',
      async (folder) => {
        await rename(join(repository, folder), join(root, 'elsewhere'));
        await symlink(join(root, 'elsewhere'), join(repository, folder));
      },
    ],
    [
      'a pipe',
      'not_a_regular_file',
      async (folder) => {
        await rm(pathOf(folder));
        await run('mkfifo', [pathOf(folder)]);
      },
    ],
    [
      'a text file of the host',
      'header_refused',
      async (folder) => {
        await rm(pathOf(folder));
        await rename(secret, pathOf(folder));
      },
    ],
  ];

  it.each(HOSTILE)('are refused with %s, in a full and below an incremental, even if damage is allowed', async (_, reason, make) => {
    await make(FULL);
    const [full, incremental] = [await asSealed(FULL).catch(() => sealed[0]), sealed[1]];
    for (const chain of [[full], [full, incremental]]) {
      for (const allowDamaged of [false, true]) {
        await expect(open(chain, allowDamaged)).rejects.toMatchObject({ code: 'restore_point_unsafe', facts: { reason } });
      }
    }
    expect(hashed).toEqual([]);
  });

  it.each(HOSTILE)('are found by verification with %s', async (_, __, make) => {
    await make(FULL);
    const verifier = new RestorePointVerifier(files, new QemuImg(), hasher, new ProvenFiles(null));
    const described = await manifestOf(FULL).catch(async () => {
      const [{ size_bytes, sha256 }] = sealed;
      await create(INCREMENTAL);
      const other = await manifestOf(INCREMENTAL);
      const disks = other.disks.map((disk) => ({ ...disk, file_size_bytes: size_bytes, sha256, parent_change_id: null, backing_file: null }));
      return { ...other, backup_id: '00000001', backup_type: 'full' as const, full_reason: 'requested', parent: null, disks };
    });
    await writeFile(join(repository, FULL, 'manifest.json'), JSON.stringify(described));
    const { findings } = await verifier.verifyPoint(repository, FULL);
    expect(findings.map(({ code }) => code)).toEqual([expect.stringMatching(/^(image_damaged|parent_differs|file_altered)$/)]);
  });

  it('pass unchanged, and are read only once', async () => {
    expect(await open()).toEqual([pathOf(FULL), pathOf(INCREMENTAL)]);
    expect(hashed.sort()).toEqual([pathOf(FULL), pathOf(INCREMENTAL)]);
    await open();
    // Stored on disk, so that a later hub finds it.
    guard = new ChainGuard(files, hasher, new ProvenFiles(join(root, 'proven')));
    await open();
    expect(hashed).toHaveLength(2);
  });

  it('have their stored hashes read once for the whole chain', async () => {
    const proven = new ProvenFiles(join(root, 'proven'));
    const find = jest.spyOn(proven, 'find');
    const findAll = jest.spyOn(proven, 'findAll');
    await open();
    guard = new ChainGuard(files, hasher, proven);
    await open();
    expect(hashed).toHaveLength(2);
    expect([find.mock.calls.length, findAll.mock.calls.length]).toEqual([0, 1]);
    expect(await proven.findAll(repository, [`${FULL}/disk-0.qcow2`, 'another/point/disk-0.qcow2'])).toEqual(
      new Map(sealed.map(({ file, sha256 }) => [file, expect.objectContaining({ sha256 })])),
    );
  });

  it('are read again if their stored hashes are lost', async () => {
    await open();
    await rm(join(root, 'proven'), { recursive: true });
    await open();
    expect(hashed).toHaveLength(4);
  });

  it('are read again after a harmless change', async () => {
    await open();
    await chmod(pathOf(FULL), 0o400);
    await open();
    expect(hashed).toEqual(expect.arrayContaining([pathOf(FULL), pathOf(INCREMENTAL), pathOf(FULL)]));
    expect(hashed).toHaveLength(3);
  });

  it.each([
    ['written in place', async (path: string, other: Buffer) => writeFile(path, other)],
    [
      'replaced by another file',
      async (path: string, other: Buffer) => {
        await writeFile(`${path}.new`, other);
        await rename(`${path}.new`, path);
      },
    ],
  ])('are refused after they were %s with the same length and modification time', async (_, change) => {
    await open();
    const path = pathOf(FULL);
    const { atime, mtime } = await stat(path);
    const other = await readFile(path);
    // In the last cluster, which contains no header.
    other.writeUInt8(other.readUInt8(other.length - 1) ^ 1, other.length - 1);
    await change(path, other);
    await utimes(path, atime, mtime);
    await expect(open()).rejects.toMatchObject({ code: 'restore_point_damaged', facts: { reason: 'file_altered' } });
    await expect(open()).rejects.toMatchObject({ code: 'restore_point_damaged' });
    // A caller that asks for the file as it is gets it.
    expect(await open(sealed, true)).toHaveLength(2);
  });

  it('are refused when they were truncated', async () => {
    await truncate(pathOf(FULL), 70_000);
    await expect(open()).rejects.toMatchObject({ code: 'restore_point_damaged', facts: { reason: 'file_truncated' } });
    await rm(pathOf(FULL));
    await expect(open()).rejects.toMatchObject({ code: 'restore_point_damaged', facts: { reason: 'file_missing' } });
  });

  it('are waited for only as long as requested, and reading continues', async () => {
    await expect(guard.open(repository, sealed, { allowDamaged: false, patienceMs: 0 })).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'restore_point_being_checked',
    });
    await open();
    expect(hashed).toHaveLength(2);
  });

  it('are served by the graph that was checked, whatever their headers say later', async () => {
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x41 0 4096', pathOf(FULL)]);
    sealed = [await asSealed(FULL), sealed[1]];
    const chain = await files.checkChain(repository, sealed, false);
    await create(INCREMENTAL, '-b', secret, '-F', 'raw');
    const target = join(root, 'out.raw');
    const { convertArgv } = await import('../../../lib/qemu/disk-copy.plan.js');
    const [tool, ...argv] = convertArgv(chain.images, target, 'raw');
    await run(tool, argv);
    expect((await readFile(target)).subarray(0, 20)).toEqual(Buffer.alloc(20, 0x41));
  });
});

describe('an invalid manifest', () => {
  let root: string;
  const files = new RepositoryFiles();
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'sendense-manifest-'));
    await mkdir(join(root, FULL), { recursive: true });
    await writeFile(join(root, 'secret'), 'TOP-SECRET');
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it.each([
    ['a symbolic link', (path: string) => symlink(join(root, 'secret'), path)],
    ['a pipe', (path: string) => run('mkfifo', [path])],
    ['not JSON', (path: string) => writeFile(path, 'TOP-SECRET')],
    ['too long', (path: string) => writeFile(path, '').then(() => truncate(path, 17 * MIB))],
  ])('that is %s is not waited for and not quoted', async (_, make) => {
    await make(join(root, FULL, 'manifest.json'));
    const [found] = await files.listRestorePoints(root);
    expect(found).toMatchObject({ folder: FULL, manifest: null, problem: expect.stringContaining('is not a valid manifest') });
    expect(found?.problem).not.toContain('SECRET');
  });
});
