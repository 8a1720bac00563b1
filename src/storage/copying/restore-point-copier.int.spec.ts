import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireTools } from '../../../test/support/require-tools.js';
import { CHAIN_HUB, SealedChain, type SealedPoint } from '../../../test/support/sealed-chain.js';
import { newSigner } from '../../../test/support/sealed-disks.js';
import { seeded } from '../../../test/support/seeded.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import { FileHasher } from '../hashing/file-hasher.js';
import { ImageMerger } from '../pruning/image-merger.js';
import { ProvenFiles } from '../repository-files/proven-files.js';
import { RepositoryFiles } from '../repository-files/repository-files.js';
import { RestorePointVerifier } from '../repository-files/restore-point-verifier.js';
import { FileCopier } from './file-copier.js';
import { type CopiedPoint, type PointCopyRequest, RestorePointCopier } from './restore-point-copier.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const BLOCK = 4 * MIB;

const files = new RepositoryFiles();
const hasher = new FileHasher();
const qemuImg = new QemuImg();
const proven = new ProvenFiles(null);
const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
const signer = newSigner(CHAIN_HUB);
const copier = new RestorePointCopier(files, verifier, new FileCopier(), new ImageMerger(), qemuImg, hasher, proven, () => signer);

const gated = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'dd', 'touch');

gated.describe('copying restore points between repositories', () => {
  let root: string;
  let target: string;
  let chain: SealedChain;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'sendense-copying-'));
    target = join(root, 'copies');
    await mkdir(target);
    await files.writeMarker(target, {
      format_version: 2,
      repository_id: '22222222-2222-4222-8222-222222222222',
      created_at: '2026-11-21T10:00:00.000Z',
      role: 'copy',
    });
    chain = await SealedChain.create(root, 16 * MIB);
    const random = seeded(7);
    for (const disks of [2, 2]) await chain.add(disks, random);
  });
  afterEach(async () => {
    await run('chmod', ['-R', 'u+rwX', root]);
    await rm(root, { recursive: true, force: true });
  });

  function point(index: number): SealedPoint {
    const found = chain.points[index];
    if (found === undefined) throw new Error(`the chain has no restore point ${index}`);
    return found;
  }

  async function requestOf({ folder, backupId }: SealedPoint, changes: Partial<PointCopyRequest> = {}): Promise<PointCopyRequest> {
    return {
      sourcePath: chain.repository,
      targetPath: target,
      folder,
      backupId,
      manifestSha256: (await files.readManifestAndHash(chain.repository, folder)).sha256,
      flatten: false,
      bytesPerSecond: null,
      at: '2026-12-01T00:00:00.000Z',
      signal: new AbortController().signal,
      onProgress: () => undefined,
      ...changes,
    };
  }

  async function copy(which: SealedPoint, changes: Partial<PointCopyRequest> = {}): Promise<CopiedPoint> {
    const copied = await copier.transfer(await requestOf(which, changes));
    await copier.seal(target, which.folder, copied.manifest_sha256);
    return copied;
  }

  async function expectIntact({ folder, truth }: SealedPoint): Promise<void> {
    expect((await verifier.verifyPoint(target, folder)).findings).toEqual([]);
    for (const [disk, expected] of truth.entries()) {
      const raw = join(root, 'restored.raw');
      await run('qemu-img', ['convert', '-O', 'raw', join(target, folder, `disk-${disk}.qcow2`), raw]);
      expect(await hasher.sha256(raw)).toBe(expected);
    }
    expect((await readdir(join(target, folder, '..'))).filter((name) => name.startsWith('.'))).toEqual([]);
  }

  it('makes them the same in every byte, parents first, with times and signature', async () => {
    for (const each of [point(0), point(1)]) {
      const { written_bytes, kept_bytes } = await copy(each);
      expect(written_bytes).toBeGreaterThan(0);
      expect(kept_bytes).toBe(0);
      await expectIntact(each);
      const [there, here] = [join(target, each.folder), join(chain.repository, each.folder)];
      await run('diff', ['-r', there, here]);
      for (const name of (await readdir(here)).filter((file) => file.endsWith('.qcow2'))) {
        const [copied, source] = await Promise.all([there, here].map((path) => stat(join(path, name), { bigint: true })));
        expect([copied?.mtimeNs, Number(copied?.mode ?? 0) & 0o777]).toEqual([source?.mtimeNs, 0o444]);
      }
    }
  });

  it('flattens a restore point whose parent is not there, and signs its manifest', async () => {
    const { manifest } = await copy(point(1), { flatten: true });
    expect(manifest).toMatchObject({ backup_type: 'full', full_reason: 'flattened', parent: null, signing_key: signer.key });
    await expectIntact(point(1));
    // An incremental that comes later stands on it, whatever its files are.
    const third = await chain.add(2, seeded(9));
    await copy(third);
    await expectIntact(third);
  });

  it('continues at the block it had reached, and trusts no block without its digest', async () => {
    const full = point(0);
    const { written_bytes } = await copy(full);
    const [final, partial] = [join(target, full.folder), join(target, files.partialFolder(full.folder))];
    await chmod(final, 0o755);
    await rename(final, partial);
    const file = join(partial, 'disk-0.qcow2');
    const { size } = await stat(file);
    expect(size).toBeGreaterThan(2 * BLOCK);
    // As if interrupted after two blocks, the second of which is not what was sealed.
    await chmod(file, 0o600);
    const handle = await open(file, 'r+');
    await handle.truncate(2 * BLOCK);
    await handle.write(Buffer.from('altered'), 0, 7, BLOCK + 5);
    await handle.close();
    const again = await copy(full);
    expect(again.kept_bytes).toBe(BLOCK + (await stat(join(final, 'disk-1.qcow2'))).size);
    expect(again.written_bytes).toBeLessThanOrEqual(written_bytes - BLOCK);
    await expectIntact(full);
  });

  it('adopts what was copied by hand, without writing it again', async () => {
    await run('cp', ['-a', join(chain.repository, point(0).folder, '..'), target]);
    const { written_bytes, kept_bytes } = await copy(point(0));
    expect([written_bytes, kept_bytes > 0]).toEqual([0, true]);
    await expectIntact(point(0));
  });

  it('seals nothing of a source that was altered, and names the place', async () => {
    const full = point(0);
    const file = join(chain.repository, full.folder, 'disk-0.qcow2');
    await chmod(file, 0o644);
    const handle = await open(file, 'r+');
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, BLOCK + 100);
    await handle.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, BLOCK + 100);
    await handle.close();
    await expect(copy(full)).rejects.toMatchObject({ code: 'source_altered', message: expect.stringContaining(`its bytes from ${BLOCK} on`) });
    await expect(copy(point(1), { flatten: true })).rejects.toMatchObject({ code: 'restore_point_damaged' });
    await expect(stat(join(target, full.folder))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('does not replace another restore point, and stops when it is asked to', async () => {
    await copy(point(0));
    const other = { ...point(0), backupId: point(1).backupId };
    await expect(copy(other)).rejects.toMatchObject({ code: 'copy_place_taken' });
    await expectIntact(point(0));
    const stop = new AbortController();
    const copying = copy(point(1), { signal: stop.signal, bytesPerSecond: 65_536 });
    setTimeout(() => stop.abort(new Error('cancelled')), 300);
    await expect(copying).rejects.toThrow('cancelled');
    await files.removePartial(target, point(1).folder);
    expect(await readdir(join(target, point(0).folder, '..'))).toHaveLength(1);
    expect(await readFile(join(target, point(0).folder, 'manifest.json'), 'utf8')).toContain(point(0).backupId);
  });
});
