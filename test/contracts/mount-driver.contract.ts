import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type MountDriver, MountError, type MountedDisk } from '../../src/hub/restore/mounts/mount-driver.port.js';
import { MountRelease } from '../../src/hub/restore/mounts/mount-release.js';
import { IS_LONG } from '../support/long-proof.js';
import type { ImageChain } from '../../src/lib/qemu/image-chain.plan.js';
import { ShellProcessSupervisor } from '../../src/lib/process/shell-process-supervisor.js';
import { changeGuestDisk, emptyFile, type Filesystem, makeDirtyDisk, makeGuestDisk, partitioned, type PartitionTable } from '../support/guest-disk.js';
import { guestMountsBelow, removeGuestMounts } from '../support/guest-mounts.js';

const run = promisify(execFile);

/** The smallest that each can be, or about so. */
const MIB_FOR: Readonly<Record<Filesystem, number>> = { ext4: 32, xfs: 310, btrfs: 128, ntfs: 32 };

export interface MountDriverCase {
  make(supervisor: ShellProcessSupervisor): MountDriver;
  /** What this driver can mount. */
  readonly filesystems: readonly (readonly [Filesystem, PartitionTable])[];
  /** Of these, disks that were in use when they were backed up. */
  readonly inUse: readonly Exclude<Filesystem, 'ntfs'>[];
  /** Of these, two restore points of one disk, which have one UUID, are mounted at once. */
  readonly twins: readonly Filesystem[];
  /** Whether damaged files and disks without a mountable file system are tried one by one. */
  readonly refusals: boolean;
  /** For one mount, in milliseconds. */
  readonly patienceMs: number;
}

/** What every mount driver must do. */
export function mountDriverContract({ make, filesystems, inUse, twins, refusals, patienceMs }: MountDriverCase): void {
  const supervisor = new ShellProcessSupervisor();
  const driver = make(supervisor);
  const release = new MountRelease(supervisor);
  let work: string;
  let run1: string;

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'sendense-mount-driver-'));
    run1 = join(work, 'mounts', 'one');
  });

  afterEach(async () => {
    expect(await release.release(run1)).toMatchObject({ leftovers: [] });
    expect(await guestMountsBelow(work)).toEqual([]);
  });

  afterAll(async () => {
    await removeGuestMounts(work);
    await rm(work, { recursive: true, force: true });
  });

  async function mount(chain: string | ImageChain, partition: number | null = null): Promise<MountedDisk> {
    return driver.mount({ directory: run1, chain: typeof chain === 'string' ? [chain] : chain, partition }, AbortSignal.timeout(patienceMs));
  }

  async function refusal(chain: string | ImageChain, partition: number | null = null): Promise<MountError> {
    const outcome = await mount(chain, partition).catch((error: unknown) => error);
    if (!(outcome instanceof MountError)) throw new Error(`mounted, or failed otherwise: ${String(outcome)}`);
    return outcome;
  }

  async function qcow2(raw: string): Promise<string> {
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, `${raw}.qcow2`]);
    return `${raw}.qcow2`;
  }

  describe.each(filesystems.map(([filesystem, table]) => ({ filesystem, table })))('$filesystem, partition table $table', ({ filesystem, table }) => {
    let full: string;
    let incremental: string;

    beforeAll(async () => {
      full = join(work, `${filesystem}-${table}, full.qcow2`);
      incremental = join(work, `${filesystem}-${table}-incremental.qcow2`);
      await makeGuestDisk(full, { filesystem, table, mib: MIB_FOR[filesystem], fill: (root) => writeFile(join(root, 'hello'), 'hello\n') });
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', full, '-F', 'qcow2', incremental]);
    }, patienceMs);

    it(
      'is mounted from the end of a chain, read-only, and is gone afterwards with all that served it',
      async () => {
        const before = await readFile(incremental);
        const mounted = await mount([full, incremental]);
        expect(mounted).toMatchObject({ driver: driver.name, filesystemType: filesystem, partition: table === 'none' ? 0 : 1 });
        expect(await readFile(join(mounted.mountPath, 'hello'), 'utf8')).toBe('hello\n');
        await expect(writeFile(join(mounted.mountPath, 'new'), '')).rejects.toThrow(/EROFS|EACCES|EPERM/);
        const { stdout } = await run('findmnt', ['--noheadings', '--output', 'OPTIONS', mounted.mountPath]);
        expect(stdout.trim().split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec', 'nosymfollow']));
        expect(await release.stands(run1)).toBe(true);
        expect(await release.release(run1)).toEqual({ forced: false, leftovers: [] });
        expect(await release.stands(run1)).toBe(false);
        expect((await readFile(incremental)).equals(before)).toBe(true);
      },
      2 * patienceMs,
    );
  });

  for (const filesystem of twins) twinContract(filesystem);
  for (const filesystem of inUse) inUseContract(filesystem);

  function twinContract(filesystem: Filesystem): void {
    it(
      `shows two restore points of one ${filesystem} at once, each as it was`,
      async () => {
        const full = join(work, `${filesystem}-full.qcow2`);
        const incremental = join(work, `${filesystem}-twin.qcow2`);
        await makeGuestDisk(full, { filesystem, table: 'none', mib: MIB_FOR[filesystem], fill: (root) => writeFile(join(root, 'hello'), 'first\n') });
        await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', full, '-F', 'qcow2', incremental]);
        await changeGuestDisk(incremental, 'none', (root) => writeFile(join(root, 'hello'), 'second\n'));
        const run2 = join(work, 'mounts', 'two');
        try {
          const second = await driver.mount({ directory: run2, chain: [full, incremental], partition: null }, AbortSignal.timeout(patienceMs));
          const first = await mount(full);
          expect(await readFile(join(first.mountPath, 'hello'), 'utf8')).toBe('first\n');
          expect(await readFile(join(second.mountPath, 'hello'), 'utf8')).toBe('second\n');
        } finally {
          expect(await release.release(run2)).toMatchObject({ leftovers: [] });
        }
      },
      4 * patienceMs,
    );
  }

  function inUseContract(filesystem: Exclude<Filesystem, 'ntfs'>): void {
    it(
      `shows ${filesystem} with a journal that was never replayed, and does not replay it`,
      async () => {
        const file = join(work, `${filesystem}-dirty.qcow2`);
        await makeDirtyDisk(file, filesystem, MIB_FOR[filesystem]);
        const before = await readFile(file);
        const mounted = await mount(file);
        expect(await readFile(join(mounted.mountPath, 'before', 'hello'), 'utf8')).toBe('hello\n');
        // Only a replay would bring it about.
        await expect(readFile(join(mounted.mountPath, 'journalled'))).rejects.toThrow(/ENOENT/);
        await release.release(run1);
        expect((await readFile(file)).equals(before)).toBe(true);
      },
      4 * patienceMs,
    );
  }

  if (refusals) refusalContract();

  function refusalContract(): void {
    it(
      'refuses a damaged file system and a file that is no QCOW2',
      async () => {
        const damaged = join(work, 'damaged');
        await emptyFile(damaged, 32);
        await run('mkfs.ext4', ['-q', '-F', damaged]);
        // The group descriptors, behind a superblock that is whole.
        await run('dd', ['if=/dev/urandom', `of=${damaged}`, 'bs=1k', 'seek=2', 'count=60', 'conv=notrunc', 'status=none']);
        expect(await refusal(await qcow2(damaged))).toMatchObject({ code: 'filesystem_damaged' });
        await release.release(run1);
        await writeFile(join(work, 'no.qcow2'), 'this is not a disk');
        expect(await refusal(join(work, 'no.qcow2'))).toMatchObject({ code: 'restore_point_unreadable' });
        await release.release(run1);
        await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', join(work, 'missing.qcow2'), '-F', 'qcow2', join(work, 'orphan.qcow2'), '16M']);
        expect(await refusal([join(work, 'missing.qcow2'), join(work, 'orphan.qcow2')])).toMatchObject({ code: 'restore_point_unreadable' });
      },
      4 * patienceMs,
    );

    it(
      'refuses a disk without a file system, an encrypted one and a partition that is not there, by name',
      async () => {
        const empty = join(work, 'empty');
        await emptyFile(empty, 16);
        expect(await refusal(await qcow2(empty))).toMatchObject({ code: 'filesystem_not_found' });
        await release.release(run1);
        const locked = join(work, 'locked');
        await emptyFile(locked, 32);
        await writeFile(join(work, 'key'), 'secret');
        await run('cryptsetup', [
          'luksFormat',
          '--batch-mode',
          '--type',
          'luks2',
          '--pbkdf',
          'pbkdf2',
          '--pbkdf-force-iterations',
          '1000',
          locked,
          join(work, 'key'),
        ]);
        await partitioned(join(work, 'locked-raw'), locked, 'gpt', 32);
        const encrypted = await refusal(await qcow2(join(work, 'locked-raw')));
        expect(encrypted).toMatchObject({ code: 'filesystem_encrypted' });
        expect(encrypted.partitions).toMatchObject([{ number: 1, filesystem_type: 'crypto_LUKS' }]);
        await release.release(run1);
        expect(await refusal(join(work, 'locked-raw.qcow2'), 5)).toMatchObject({ code: 'partition_not_found' });
      },
      4 * patienceMs,
    );
  }

  it(
    'leaves nothing when it is abandoned on its way',
    async () => {
      const file = join(work, 'abandoned');
      await emptyFile(file, 16);
      await run('mkfs.ext4', ['-q', '-F', file]);
      const image = await qcow2(file);
      for (const delayMs of IS_LONG ? [0, 5, 20] : [5]) {
        const abort = new AbortController();
        const mounting = driver.mount({ directory: run1, chain: [image], partition: null }, abort.signal).catch(() => null);
        setTimeout(() => abort.abort(new Error('abandoned')), delayMs);
        await mounting;
        expect(await release.release(run1)).toMatchObject({ leftovers: [] });
      }
    },
    patienceMs,
  );

  it('has released what was never mounted', async () => {
    expect(await release.release(join(work, 'mounts', 'never'))).toEqual({ forced: false, leftovers: [] });
  });
}
