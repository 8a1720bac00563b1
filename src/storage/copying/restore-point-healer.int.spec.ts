import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireTools } from '../../../test/support/require-tools.js';
import { SealedChain, type SealedPoint } from '../../../test/support/sealed-chain.js';
import { seeded } from '../../../test/support/seeded.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import { FileHasher } from '../hashing/file-hasher.js';
import { ProvenFiles } from '../repository-files/proven-files.js';
import { RepositoryFiles } from '../repository-files/repository-files.js';
import { DIRECT_CALLS } from '../storage-worker/file-calls.js';
import { RestorePointVerifier } from '../repository-files/restore-point-verifier.js';
import { FileCopier } from './file-copier.js';
import { type HealRequest, type PreparedHealing, RestorePointHealer } from './restore-point-healer.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const BLOCK = 4 * MIB;

const files = new RepositoryFiles();
const proven = new ProvenFiles(null);
const verifier = new RestorePointVerifier(files, new QemuImg(), new FileHasher(), proven);
const healer = new RestorePointHealer(files, new FileCopier(), proven);

const gated = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'dd', 'touch');

gated.describe('healing a restore point from other places', () => {
  let root: string;
  let chain: SealedChain;
  let other: string;
  let full: SealedPoint;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'sendense-healing-'));
    chain = await SealedChain.create(root, 16 * MIB);
    full = await chain.add(1, seeded(7));
    other = join(root, 'other');
    await mkdir(other);
    await run('cp', ['-a', `${chain.repository}/.`, other]);
  });
  afterEach(async () => {
    await run('chmod', ['-R', 'u+rwX', root]);
    await rm(root, { recursive: true, force: true });
  });

  async function flip(repository: string, name: string, offset: number): Promise<void> {
    const file = join(repository, full.folder, name);
    await chmod(file, 0o644);
    const handle = await open(file, 'r+');
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, offset);
    await handle.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset);
    await handle.close();
  }

  async function prepare(damaged: HealRequest['damaged'] = [{ file: 'disk-0.qcow2', part: 'file' }], by = healer): Promise<PreparedHealing> {
    const manifestSha256 = (await files.readManifestAndHash(other, full.folder)).sha256;
    const sources = [{ repository_id: 'r2', repository_path: other }];
    const signal = new AbortController().signal;
    return by.prepare({ repositoryPath: chain.repository, folder: full.folder, backupId: full.backupId, manifestSha256, damaged, sources, signal });
  }

  async function expectWhole(): Promise<void> {
    const folder = join(chain.repository, full.folder);
    expect((await verifier.verifyPoint(chain.repository, full.folder)).findings).toEqual([]);
    await run('diff', ['-r', folder, join(other, full.folder)]);
    expect(await chain.contentOf(full.folder, 1)).toEqual(full.truth);
    const stats = [await stat(folder), await stat(join(folder, 'disk-0.qcow2'))];
    expect(stats.map(({ mode }) => mode & 0o777)).toEqual([0o555, 0o444]);
  }

  it('takes only the damaged blocks, each from a place that has it, also if both are damaged', async () => {
    await flip(chain.repository, 'disk-0.qcow2', BLOCK + 100);
    await flip(other, 'disk-0.qcow2', 100);
    const prepared = await prepare();
    const range = { offset_bytes: BLOCK, length_bytes: BLOCK };
    expect(prepared.healed).toEqual([{ file: `${full.folder}/disk-0.qcow2`, from_repository_ids: ['r2'], healed_bytes: BLOCK, ranges: [range] }]);
    expect((await verifier.verifyPoint(chain.repository, full.folder)).findings).toHaveLength(1);
    await healer.swap(prepared);
    expect((await verifier.verifyPoint(chain.repository, full.folder)).findings).toEqual([]);
    expect(await chain.contentOf(full.folder, 1)).toEqual(full.truth);
  });

  it.each([
    ['missing', (file: string) => rm(file)],
    ['cut short', (file: string) => run('truncate', ['-s', String(BLOCK + 1), file])],
    ['replaced by something else', (file: string) => run('ln', ['-sf', '/dev/null', file])],
  ])('writes a file that is %s', async (_, damage) => {
    await chmod(join(chain.repository, full.folder), 0o755);
    await damage(join(chain.repository, full.folder, 'disk-0.qcow2'));
    await healer.swap(await prepare());
    await expectWhole();
  });

  it('writes a list of digests alone if the file is sound', async () => {
    await flip(chain.repository, 'disk-0.qcow2.sha256-4m', 40);
    const before = await stat(join(chain.repository, full.folder, 'disk-0.qcow2'));
    const [finding] = (await verifier.verifyPoint(chain.repository, full.folder)).findings;
    expect(finding).toMatchObject({ code: 'digests_damaged' });
    await healer.swap(await prepare([{ file: 'disk-0.qcow2', part: 'list' }]));
    expect((await stat(join(chain.repository, full.folder, 'disk-0.qcow2'))).ino).toBe(before.ino);
    await expectWhole();
  });

  it('writes a whole folder in two rounds, the manifest first', async () => {
    await run('chmod', ['-R', 'u+w', join(chain.repository, full.folder)]);
    await rm(join(chain.repository, full.folder), { recursive: true });
    await healer.swap(await prepare([]));
    expect((await verifier.verifyPoint(chain.repository, full.folder)).findings).toMatchObject([{ code: 'file_missing' }]);
    await healer.swap(await prepare());
    await expectWhole();
  });

  it('takes a manifest only as it was recorded, and a signature only if it is valid', async () => {
    await flip(chain.repository, 'manifest.json', 30);
    await flip(chain.repository, 'manifest.json.sig', 30);
    const prepared = await prepare([]);
    expect(prepared.names).toEqual(['manifest.json', 'manifest.json.sig']);
    await healer.swap(prepared);
    await expectWhole();
    await flip(chain.repository, 'manifest.json', 30);
    await flip(other, 'manifest.json.sig', 30);
    await expect(prepare([])).rejects.toMatchObject({ code: 'nothing_sound' });
  });

  it('leaves everything as it is if no place has a block, and nothing of an attempt', async () => {
    for (const repository of [chain.repository, other]) await flip(repository, 'disk-0.qcow2', BLOCK + 100);
    await expect(prepare()).rejects.toMatchObject({ code: 'nothing_sound', message: expect.stringContaining(`bytes from ${BLOCK} on`) });
    await healer.discard(chain.repository, full.folder);
    expect((await readdir(join(chain.repository, full.folder))).sort()).toEqual([
      'disk-0.qcow2',
      'disk-0.qcow2.sha256-4m',
      'manifest.json',
      'manifest.json.sig',
    ]);
    expect((await stat(join(chain.repository, full.folder))).mode & 0o777).toBe(0o555);
  });

  it('leaves files that a keeper has made immutable as they are, and says so before it writes anything', async () => {
    await flip(chain.repository, 'disk-0.qcow2', 100);
    const locked = new RepositoryFiles(() => ({ ...DIRECT_CALLS, immutability: () => Promise.resolve([{ name: 'disk-0.qcow2', immutable: true }]) }));
    const before = await readdir(join(chain.repository, full.folder));
    await expect(prepare(undefined, new RestorePointHealer(locked, new FileCopier(), proven))).rejects.toMatchObject({
      code: 'restore_point_locked',
      facts: { file: `${full.folder}/disk-0.qcow2` },
    });
    await healer.discard(chain.repository, full.folder);
    expect(await readdir(join(chain.repository, full.folder))).toEqual(before);
  });

  it('begins again after an interruption', async () => {
    await flip(chain.repository, 'disk-0.qcow2', BLOCK + 100);
    await prepare();
    await writeFile(join(chain.repository, full.folder, '.healed-disk-0.qcow2.sha256-4m.new'), 'left by a killed process');
    await healer.swap(await prepare());
    await expectWhole();
  });
});
