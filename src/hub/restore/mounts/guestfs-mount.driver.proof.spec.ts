import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { emptyFile, makeGuestDisk, runWithInput } from '../../../../test/support/guest-disk.js';
import { guestMountsBelow, removeGuestMounts } from '../../../../test/support/guest-mounts.js';
import { hasTool } from '../../../../test/support/require-tools.js';
import { ShellProcessSupervisor } from '../../../lib/process/shell-process-supervisor.js';
import { GuestfsMountDriver } from './guestfs-mount.driver.js';
import { MountError, type MountedDisk } from './mount-driver.port.js';
import { MountRelease } from './mount-release.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** Each mount starts the sandbox, emulated. */
const PATIENCE_MS = 240_000;
jest.setTimeout(2 * PATIENCE_MS);

/** Start and size of each partition, in MiB. */
const LAYOUT = [
  { start: 1, mib: 64, what: 'physical volume' },
  { start: 65, mib: 64, what: 'physical volume' },
  { start: 129, mib: 310, what: 'xfs' },
  { start: 439, mib: 128, what: 'btrfs' },
  { start: 567, mib: 32, what: 'ntfs' },
  { start: 599, mib: 32, what: 'encrypted' },
] as const;
const LOGICAL_VOLUME = 1001;

const supervisor = new ShellProcessSupervisor();
const driver = new GuestfsMountDriver(supervisor, { forceEmulation: () => true });
const release = new MountRelease(supervisor);
const availability = await driver.availability();
if (!availability.available) process.stderr.write(`skipped: mount driver guestfs: ${availability.reason}\n`);
const lacking = ['cryptsetup', 'sfdisk', 'mkfs.xfs', 'mkfs.btrfs', 'mkntfs'].filter((tool) => !hasTool(tool));
if (availability.available && lacking.length > 0) process.stderr.write(`skipped: not on PATH: ${lacking.join(', ')}\n`);

(availability.available && lacking.length === 0 ? describe : describe.skip)('the sandbox, with a disk of many file systems', () => {
  let work: string;
  let directory: string;
  let file: string;

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'sendense-sandbox-'));
    directory = join(work, 'mounts', 'one');
    file = join(work, 'disk.qcow2');
    await makeDisk();
  });

  afterEach(async () => {
    expect(await release.release(directory)).toMatchObject({ leftovers: [] });
    expect(await guestMountsBelow(work)).toEqual([]);
  });

  afterAll(async () => {
    await removeGuestMounts(work);
    await rm(work, { recursive: true, force: true });
  });

  async function makeDisk(): Promise<void> {
    const raw = join(work, 'raw');
    await emptyFile(raw, 632);
    const table = join(work, 'table');
    await writeFile(table, `label: gpt\n${LAYOUT.map(({ start, mib }) => `start=${(start * MIB) / 512},size=${(mib * MIB) / 512}\n`).join('')}`);
    await runWithInput('sfdisk', ['-q', raw], table);
    for (const { start, mib, what } of LAYOUT) {
      if (what === 'physical volume') continue;
      const part = join(work, what);
      if (what === 'encrypted') await makeEncrypted(part, mib);
      else {
        await makeGuestDisk(`${part}.qcow2`, { filesystem: what, table: 'none', mib, fill: (root) => writeFile(join(root, 'hello'), `${what}\n`) });
        await run('qemu-img', ['convert', '-O', 'raw', `${part}.qcow2`, part]);
      }
      await run('dd', [`if=${part}`, `of=${raw}`, 'bs=1M', `seek=${start}`, 'conv=notrunc,sparse', 'status=none']);
    }
    await makeLogicalVolume(raw);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, file]);
  }

  async function makeEncrypted(path: string, mib: number): Promise<void> {
    await emptyFile(path, mib);
    await writeFile(join(work, 'key'), 'secret');
    const cheap = ['--type', 'luks2', '--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
    await run('cryptsetup', ['luksFormat', '--batch-mode', ...cheap, path, join(work, 'key')]);
  }

  /** Larger than either of its physical volumes. Created in the sandbox, so that the host's volume manager never sees it. */
  async function makeLogicalVolume(raw: string): Promise<void> {
    const script = [
      'run',
      'pvcreate /dev/sda1',
      'pvcreate /dev/sda2',
      'vgcreate guest "/dev/sda1 /dev/sda2"',
      'lvcreate root guest 100',
      'mkfs ext4 /dev/guest/root',
      'mount /dev/guest/root /',
      'write /hello "logical volume\\n"',
      'umount-all',
      '',
    ].join('\n');
    const guestfish = run('guestfish', ['--rw', '--format=raw', '-a', raw], {
      env: { ...process.env, LIBGUESTFS_BACKEND: 'direct', LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' },
    });
    guestfish.child.stdin?.end(script);
    await guestfish;
  }

  function mount(partition: number): Promise<MountedDisk> {
    return driver.mount({ directory, chain: [file], partition }, AbortSignal.timeout(PATIENCE_MS));
  }

  it('mounts a logical volume that spans two partitions, without a write to the restore point', async () => {
    const before = await readFile(file);
    const mounted = await mount(LOGICAL_VOLUME);
    expect(mounted).toMatchObject({ driver: 'guestfs', device: '/dev/guest/root', filesystemType: 'ext4', partition: LOGICAL_VOLUME });
    expect(await readFile(join(mounted.mountPath, 'hello'), 'utf8')).toBe('logical volume\n');
    expect(mounted.partitions.map(({ number, filesystem_type }) => [number, filesystem_type])).toEqual(
      expect.arrayContaining([
        [3, 'xfs'],
        [4, 'btrfs'],
        [5, 'ntfs'],
        [6, 'crypto_LUKS'],
        [LOGICAL_VOLUME, 'ext4'],
      ]),
    );
    const { stdout } = await run('findmnt', ['--noheadings', '--output', 'OPTIONS', mounted.mountPath]);
    expect(stdout.trim().split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec', 'nosymfollow']));
    expect(await release.release(directory)).toEqual({ forced: false, leftovers: [] });
    expect((await readFile(file)).equals(before)).toBe(true);
  });

  it('reports that a volume is encrypted', async () => {
    const refused = await mount(6).catch((error: unknown) => error);
    if (!(refused instanceof MountError)) throw new Error(`mounted, or failed otherwise: ${String(refused)}`);
    expect(refused).toMatchObject({ code: 'filesystem_encrypted', message: 'partition 6 is encrypted (crypto_LUKS) and cannot be read without its key' });
  });

  it.each([
    [3, 'xfs'],
    [4, 'btrfs'],
    [5, 'ntfs'],
  ])('mounts partition %i, which is %s', async (partition, filesystem) => {
    const mounted = await mount(partition);
    expect(mounted).toMatchObject({ filesystemType: filesystem, partition });
    expect(await readFile(join(mounted.mountPath, 'hello'), 'utf8')).toBe(`${filesystem}\n`);
  });
});
