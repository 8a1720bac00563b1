import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { LoopMount } from '../../../test/support/loop-mount.js';
import { casesOf, inLongProof, IS_LONG, times } from '../../../test/support/long-proof.js';
import { hasTool, requireCondition, requireLoopMounts, requireTools } from '../../../test/support/require-tools.js';
import { CHAIN_HUB, SealedChain, type SealedPoint } from '../../../test/support/sealed-chain.js';
import { newSigner } from '../../../test/support/sealed-disks.js';
import { seeded } from '../../../test/support/seeded.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import { FileHasher } from '../hashing/file-hasher.js';
import type { Manifest } from '../repository-files/manifest.js';
import { ProvenFiles } from '../repository-files/proven-files.js';
import { RepositoryFiles } from '../repository-files/repository-files.js';
import { RestorePointVerifier } from '../repository-files/restore-point-verifier.js';
import { ImageMerger } from './image-merger.js';
import { planPruning, type PrunablePoint } from './prune-chains.plan.js';
import { RestorePointRewriter } from './restore-point-rewriter.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const AT = '2026-12-01T00:00:00.000Z';

const files = new RepositoryFiles();
const hasher = new FileHasher();
const qemuImg = new QemuImg();
const proven = new ProvenFiles(null);
const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
const signer = newSigner(CHAIN_HUB);
const rewriter = new RestorePointRewriter(files, verifier, new ImageMerger(), qemuImg, hasher, proven, () => signer);

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sendense-rewriting-'));
});
afterEach(async () => {
  await run('chmod', ['-R', 'u+rwX', root]);
  await rm(root, { recursive: true, force: true });
});

async function chainOf(directory: string, disks: readonly number[], diskBytes = 16 * MIB, seed = 1): Promise<SealedChain> {
  const chain = await SealedChain.create(directory, diskBytes);
  const random = seeded(seed);
  for (const each of disks) await chain.add(each, random);
  return chain;
}

function at(chain: SealedChain, index: number): SealedPoint {
  const point = chain.points[index];
  if (point === undefined) throw new Error(`the chain has no restore point ${index}`);
  return point;
}

async function rewrite(repository: string, point: SealedPoint, parent: SealedPoint | null): Promise<Manifest> {
  const prepared = await rewriter.prepare({ repositoryPath: repository, folder: point.folder, parentBackupId: parent?.backupId ?? null, at: AT });
  if (prepared === null) throw new Error('there was nothing to rewrite');
  return (await rewriter.swap(prepared)).manifest;
}

/** Every restore point has its content and passes verification, and nothing temporary is left. */
async function expectIntact(repository: string, points: readonly SealedPoint[], chain: SealedChain): Promise<void> {
  for (const { folder, truth } of points) {
    const { findings } = await verifier.verifyPoint(repository, folder);
    expect(findings).toEqual([]);
    expect(await chain.contentOf(folder, truth.length)).toEqual(truth);
    expect((await stat(join(repository, folder))).mode & 0o777).toBe(0o555);
    for (const file of await readdir(join(repository, folder))) expect((await stat(join(repository, folder, file))).mode & 0o777).toBe(0o444);
  }
  const left = await run('find', [repository, '-name', '.tmp-*']);
  expect(left.stdout).toBe('');
}

const tools = requireTools('qemu-img', 'qemu-io', 'qemu-nbd');

tools.describe('a restore point whose files are rewritten', () => {
  it('becomes a full, and its ancestors can go', async () => {
    const chain = await chainOf(root, [1, 2, 2, 2]);
    const child = await readFile(join(chain.repository, at(chain, 3).folder, 'manifest.json'));
    const before = await files.readManifest(chain.repository, at(chain, 2).folder);
    const manifest = await rewrite(chain.repository, at(chain, 2), null);

    expect(manifest).toMatchObject({ backup_type: 'full', full_reason: 'flattened', parent: null, instant: before.instant, chain_id: before.chain_id });
    expect(manifest.disks.map(({ backing_file, parent_change_id, change_id }) => [backing_file, parent_change_id, change_id])).toEqual([
      [null, null, 'change-3'],
      [null, null, 'change-3'],
    ]);
    expect(manifest.rewrites).toEqual([
      {
        operation: 'flatten',
        at: AT,
        merged: [at(chain, 1).backupId, at(chain, 0).backupId],
        disks: before.disks.map((disk, index) => ({
          file: disk.file,
          before: { sha256: disk.sha256, file_size_bytes: disk.file_size_bytes },
          after: { sha256: manifest.disks[index]?.sha256, file_size_bytes: manifest.disks[index]?.file_size_bytes },
        })),
      },
    ]);
    expect(await files.readManifest(chain.repository, at(chain, 2).folder)).toEqual(manifest);
    await expectIntact(chain.repository, chain.points, chain);
    for (const index of [1, 0]) await files.removeRestorePoint(chain.repository, at(chain, index).folder);
    await expectIntact(chain.repository, chain.points.slice(2), chain);
    expect(await readFile(join(chain.repository, at(chain, 3).folder, 'manifest.json'))).toEqual(child);
  });

  it('absorbs the restore points between it and an ancestor, which can go, and a disk that was new in one of them becomes whole', async () => {
    const chain = await chainOf(root, [1, 1, 2, 2, 2]);
    const manifest = await rewrite(chain.repository, at(chain, 3), at(chain, 0));

    const oldest = { backup_id: at(chain, 0).backupId, folder: at(chain, 0).folder };
    expect(manifest).toMatchObject({ backup_type: 'incremental', full_reason: null, parent: oldest });
    expect(manifest.disks.map(({ backing_file, parent_change_id }) => [backing_file, parent_change_id])).toEqual([
      [`../${oldest.folder.split('/')[1] ?? ''}/disk-0.qcow2`, 'change-1'],
      [null, null],
    ]);
    for (const index of [2, 1]) await files.removeRestorePoint(chain.repository, at(chain, index).folder);
    await expectIntact(
      chain.repository,
      [0, 3, 4].map((index) => at(chain, index)),
      chain,
    );
  });

  it('can be rewritten again, and an incremental can be based on it', async () => {
    const chain = await chainOf(root, [1, 1, 1]);
    await rewrite(chain.repository, at(chain, 2), at(chain, 0));
    await files.removeRestorePoint(chain.repository, at(chain, 1).folder);
    await chain.add(1, seeded(7));
    const manifest = await rewrite(chain.repository, at(chain, 2), null);
    expect(manifest.rewrites?.map(({ operation }) => operation)).toEqual(['absorb', 'flatten']);
    await files.removeRestorePoint(chain.repository, at(chain, 0).folder);
    await expectIntact(
      chain.repository,
      [2, 3].map((index) => at(chain, index)),
      chain,
    );
    const [disk] = manifest.disks;
    if (disk === undefined) throw new Error('there is no disk');
    const sealed = { size_bytes: disk.file_size_bytes, sha256: disk.sha256, mtime_ns: disk.mtime_ns };
    const place = { file: `${at(chain, 2).folder}/disk-0.qcow2`, below: null, proven: null };
    expect(await files.checkParent(chain.repository, sealed, place)).toEqual({ kind: 'sound' });
  });

  it('is left alone if it has that parent already', async () => {
    const chain = await chainOf(root, [1, 1]);
    const request = { repositoryPath: chain.repository, folder: at(chain, 1).folder, parentBackupId: at(chain, 0).backupId, at: AT };
    expect(await rewriter.prepare(request)).toBeNull();
    expect(await rewriter.settle(chain.repository, at(chain, 1).folder)).toEqual({ outcome: 'nothing' });
  });

  it('is not rewritten from a file that was altered, which would give the damage a valid hash', async () => {
    const chain = await chainOf(root, [1, 1, 1]);
    const path = join(chain.repository, at(chain, 1).folder, 'disk-0.qcow2');
    await chmod(path, 0o644);
    const file = await open(path, 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.from([0xff]), 0, 1, size - 10);
    await file.close();
    const request = { repositoryPath: chain.repository, folder: at(chain, 2).folder, parentBackupId: at(chain, 0).backupId, at: AT };
    await expect(rewriter.prepare(request)).rejects.toMatchObject({
      code: 'restore_point_damaged',
      facts: { damaged_backup_id: at(chain, 1).backupId, reason: 'file_altered' },
    });
    expect(await rewriter.settle(chain.repository, at(chain, 2).folder)).toEqual({ outcome: 'undone' });
    expect((await verifier.verifyPoint(chain.repository, at(chain, 2).folder)).findings).toEqual([]);
  });

  it('keeps its old content if the new one differs', async () => {
    class WrongMerger extends ImageMerger {
      override async commit(copy: string): Promise<void> {
        await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0xee 0 65536', copy]);
      }
    }
    const chain = await chainOf(root, [1, 1, 1]);
    const wrong = new RestorePointRewriter(files, verifier, new WrongMerger(), qemuImg, hasher, proven, () => signer);
    const request = { repositoryPath: chain.repository, folder: at(chain, 2).folder, parentBackupId: null, at: AT };
    await expect(wrong.prepare(request)).rejects.toMatchObject({ code: 'rewritten_content_differs' });
    await rewriter.settle(chain.repository, at(chain, 2).folder);
    await expectIntact(chain.repository, chain.points, chain);
  });

  it.each(['read through its own files', ...(IS_LONG ? ['read through those of a later restore point'] : [])])(
    'is %s by a reader that was there before',
    async (which) => {
      const chain = await chainOf(root, [1, 1, 1, 1]);
      const reader = which === 'read through its own files' ? at(chain, 2) : at(chain, 3);
      const socket = join(root, 'nbd.sock');
      const server = spawn('qemu-nbd', [
        '-r',
        '-k',
        socket,
        '-f',
        'qcow2',
        '--persistent',
        '--shared=10',
        '-x',
        'disk',
        join(chain.repository, reader.folder, 'disk-0.qcow2'),
      ]);
      const gone = once(server, 'exit');
      try {
        const uri = `nbd+unix:///disk?socket=${socket}`;
        while ((await stat(socket).catch(() => null)) === null) await run('qemu-img', ['info', uri]).catch(() => undefined);
        await rewrite(chain.repository, at(chain, 2), null);
        for (const index of [1, 0]) await files.removeRestorePoint(chain.repository, at(chain, index).folder);
        const raw = join(root, 'read.raw');
        await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, raw]);
        expect(
          createHash('sha256')
            .update(await readFile(raw))
            .digest('hex'),
        ).toBe(reader.truth[0]);
      } finally {
        server.kill();
        await gone;
      }
      await expectIntact(
        chain.repository,
        [2, 3].map((index) => at(chain, index)),
        chain,
      );
    },
  );
});

tools.describe('a plan of pruning', () => {
  it.each(Array.from({ length: times(1, 25) }, (_, index) => index + 1))(
    'keeps the content of every restore point that stays, in random chain %d',
    async (seed) => {
      const random = seeded(seed * 7919);
      let disks = 1;
      const counts = Array.from({ length: 5 }, () => (disks += random() < 0.3 ? 1 : 0));
      const chain = await chainOf(root, counts, MIB, seed);
      const expired = new Set(chain.points.filter(() => random() < 0.5).map(({ backupId }) => backupId));
      const points: PrunablePoint[] = [];
      for (const { folder } of chain.points) {
        const manifest = await files.readManifest(chain.repository, folder);
        points.push({
          backup_id: manifest.backup_id,
          parent_backup_id: manifest.parent?.backup_id ?? null,
          expired: expired.has(manifest.backup_id),
          rewritable: true,
          files: manifest.disks.map((disk) => ({ disk_id: disk.disk_id, size_bytes: disk.file_size_bytes, has_backing: disk.backing_file !== null })),
        });
      }
      const byId = new Map(chain.points.map((point) => [point.backupId, point]));
      const pointOf = (id: string): SealedPoint => byId.get(id) ?? at(chain, -1);
      const { steps } = planPruning(points, await files.freeBytes(chain.repository), false);
      for (const step of steps) {
        const point = pointOf(step.backup_id);
        if (step.kind === 'drop') await files.removeRestorePoint(chain.repository, point.folder);
        else {
          const { disks: after } = await rewrite(chain.repository, point, step.kind === 'flatten' ? null : pointOf(step.parent_backup_id));
          expect(after.reduce((sum, disk) => sum + disk.file_size_bytes, 0)).toBeLessThanOrEqual(step.new_bytes + sizeOf(points, step.backup_id));
        }
      }
      await expectIntact(
        chain.repository,
        chain.points.filter(({ backupId }) => !expired.has(backupId)),
        chain,
      );
      const left = await files.listRestorePoints(chain.repository);
      expect(left.map(({ manifest }) => manifest?.backup_id)).toEqual(chain.points.map(({ backupId }) => backupId).filter((id) => !expired.has(id)));
    },
  );

  /** Of the disks that are stored in full, and so not rewritten. */
  function sizeOf(points: readonly PrunablePoint[], backupId: string): number {
    const whole = points.find(({ backup_id }) => backup_id === backupId)?.files.filter(({ has_backing }) => !has_backing) ?? [];
    return whole.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
  }
});

const mounts = requireLoopMounts();

inLongProof(() => {
  mounts.describe('on a file system that shares blocks between files', () => {
    it.each(['xfs', 'btrfs'] as const)('%s, a full made of a large one takes little more space', async (type) => {
      if (requireCondition(hasTool(`mkfs.${type}`), `needs mkfs.${type}`).skipped !== null) return;
      const mount = await LoopMount.create(root, 320, type);
      try {
        const chain = await SealedChain.create(mount.path, 48 * MIB);
        const random = seeded(3);
        await chain.add(1, () => 0.999 * random());
        await chain.add(1, () => 0.01 * random());
        await chain.add(1, () => 0.01 * random());
        const full = await stat(join(chain.repository, at(chain, 0).folder, 'disk-0.qcow2'));
        const free = async (): Promise<number> => {
          await run('sync', ['-f', mount.path]);
          return files.freeBytes(mount.path);
        };
        const before = await free();
        await rewrite(chain.repository, at(chain, 2), null);
        expect(before - (await free())).toBeLessThan(full.blocks * 512 * 0.5);
        for (const index of [1, 0]) await files.removeRestorePoint(chain.repository, at(chain, index).folder);
        await expectIntact(chain.repository, chain.points.slice(2), chain);
      } finally {
        await mount.remove();
      }
    });

    it('without space for the new file, the restore point stays as it is', async () => {
      const mount = await LoopMount.create(root, 32);
      try {
        const chain = await chainOf(mount.path, [1, 1], 24 * MIB, 5);
        const { free_bytes } = await files.space(mount.path);
        await run('fallocate', ['-l', `${free_bytes - MIB}`, join(mount.path, 'rest')]);
        const request = { repositoryPath: chain.repository, folder: at(chain, 1).folder, parentBackupId: null, at: AT };
        await expect(rewriter.prepare(request)).rejects.toMatchObject({ kind: 'storage_full', code: 'repository_full' });
        await rewriter.settle(chain.repository, at(chain, 1).folder);
        await rm(join(mount.path, 'rest'));
        await expectIntact(chain.repository, chain.points, chain);
      } finally {
        await mount.remove();
      }
    });
  });
});

interface KillCase {
  readonly name: string;
  readonly parent: number | null;
  readonly onlyInLongProof?: boolean;
}

/** Steps that replace the files of one disk. */
const REPLACING_STEPS = 11;

/** The steps before which the program is killed: in every run, one before anything is written, one while the new file is, and two of those that replace the first disk. */
function killedSteps(steps: readonly string[]): readonly number[] {
  if (IS_LONG) return [...steps.keys()];
  const replacing = steps.lastIndexOf('compare') + 3;
  return [steps.indexOf('makeFolder'), steps.indexOf('commit'), replacing + 1, replacing + REPLACING_STEPS - 1];
}

tools.describe('a program that is killed while it rewrites a restore point', () => {
  it.each(
    casesOf<KillCase>([
      { name: 'absorbing', parent: 0 },
      { name: 'flattening', parent: null, onlyInLongProof: true },
    ]),
  )(
    'leaves a valid restore point at every step of $name, and the next one finishes or undoes it',
    async ({ parent }) => {
      const program = join(import.meta.dirname, `../../../.setup/rewriting-killed-${process.pid}.mjs`);
      await build({
        entryPoints: [join(import.meta.dirname, '../../../test/support/rewriting-killed.program.ts')],
        outfile: program,
        ...{ bundle: true, platform: 'node', format: 'esm', packages: 'external', logLevel: 'error' },
      });
      try {
        const template = await chainOf(root, [1, 2, 2, 2], MIB);
        const point = at(template, 2);
        const newParent = parent === null ? null : at(template, parent);
        const perform = async (name: string, step: number): Promise<{ readonly repository: string; readonly steps: readonly string[] | null }> => {
          const repository = join(root, name);
          await run('cp', ['-a', template.repository, repository]);
          const argv = [program, repository, point.folder, newParent?.backupId ?? '-', `${step}`];
          const rewriting = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
          const printed = text(rewriting.stdout);
          await once(rewriting, 'exit');
          if (rewriting.signalCode === 'SIGKILL') return { repository, steps: null };
          return { repository, steps: JSON.parse(await printed) as readonly string[] };
        };
        const { steps } = await perform('whole', 0);
        if (steps === null) throw new Error('it was killed without being asked');
        const outcomes = new Set<string>();
        for (const index of killedSteps(steps)) {
          const name = `${index + 1}-${steps[index] ?? ''}`;
          const { repository, steps: survived } = await perform(name, index + 1);
          expect([name, survived]).toEqual([name, null]);
          // Readers find a valid restore point before anything is repaired.
          for (const { folder } of template.points) expect([name, (await verifier.verifyPoint(repository, folder)).findings]).toEqual([name, []]);
          const { outcome } = await rewriter.settle(repository, point.folder);
          outcomes.add(outcome);
          const manifest = await files.readManifest(repository, point.folder);
          expect(manifest.rewriting).toBeUndefined();
          if ((manifest.parent?.backup_id ?? null) !== (newParent?.backupId ?? null)) await rewrite(repository, point, newParent);
          const kept = template.points.filter((each, at) => each === newParent || at >= 2);
          for (const merged of [...template.points].reverse()) if (!kept.includes(merged)) await files.removeRestorePoint(repository, merged.folder);
          await expectIntact(repository, kept, withRepository(template, repository));
          await run('chmod', ['-R', 'u+rwX', repository]);
          await rm(repository, { recursive: true });
        }
        expect([...outcomes].sort()).toEqual(['finished', 'nothing', 'undone']);
      } finally {
        await rm(program, { force: true });
      }
    },
    times(400_000, 800_000),
  );

  /** The same chain in a copy of its repository. */
  function withRepository(chain: SealedChain, repository: string): SealedChain {
    return Object.assign(Object.create(SealedChain.prototype) as SealedChain, chain, { repository }); // has no state but its members
  }

  inLongProof(() => {
    it('finishes even if its temporary files were removed by hand between two files', async () => {
      const chain = await chainOf(root, [2, 2, 2]);
      const request = { repositoryPath: chain.repository, folder: at(chain, 2).folder, parentBackupId: null, at: AT };
      const prepared = await rewriter.prepare(request);
      if (prepared === null) throw new Error('there was nothing to rewrite');
      const temporary = join(chain.repository, dirname(at(chain, 2).folder), `.tmp-rewrite-${at(chain, 2).folder.split('/')[1] ?? ''}`);
      await rm(join(temporary, 'disk-1.qcow2'));
      await expect(rewriter.swap(prepared)).rejects.toThrow();
      expect((await verifier.verifyPoint(chain.repository, at(chain, 2).folder)).findings).toEqual([]);
      await rm(temporary, { recursive: true });
      expect((await rewriter.settle(chain.repository, at(chain, 2).folder)).outcome).toBe('finished');
      for (const index of [1, 0]) await files.removeRestorePoint(chain.repository, at(chain, index).folder);
      await expectIntact(chain.repository, [at(chain, 2)], chain);
    });
  });
});
