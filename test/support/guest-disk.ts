import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { mountsBelow } from '../../src/lib/files/mount-table.js';
import { ShellProcessSupervisor } from '../../src/lib/process/shell-process-supervisor.js';
import { until } from './hub-system.js';

const run = promisify(execFile);
const MIB = 1024 * 1024;

export type Filesystem = 'ext4' | 'xfs' | 'btrfs' | 'ntfs';
export type PartitionTable = 'none' | 'dos' | 'gpt';

/** Programs that make a file system of this kind. */
export const MAKERS: Readonly<Record<Filesystem, string>> = { ext4: 'mkfs.ext4', xfs: 'mkfs.xfs', btrfs: 'mkfs.btrfs', ntfs: 'mkntfs' };

/** Where the one partition of a partitioned disk starts. */
const START_MIB = 1;

export interface NewGuestDisk {
  readonly filesystem: Filesystem;
  readonly table: PartitionTable;
  /** Of the file system. */
  readonly mib: number;
  /** Fills the file system once it is made and mounted. */
  readonly fill: (root: string) => Promise<void>;
}

/** Makes a QCOW2 file with one file system, filled through the kernel as a guest would. Needs root. */
export async function makeGuestDisk(file: string, disk: NewGuestDisk): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'sendense-guest-'));
  try {
    const filesystem = join(work, 'filesystem');
    await emptyFile(filesystem, disk.mib);
    await run(MAKERS[disk.filesystem], [...MAKER_OPTIONS[disk.filesystem], filesystem]);
    const root = join(work, 'root');
    await mkdir(root);
    if (disk.filesystem === 'ntfs') await run('ntfs-3g', [filesystem, root]);
    else await run('mount', ['-o', 'loop', filesystem, root]);
    try {
      await disk.fill(root);
      if (disk.filesystem !== 'ntfs') await writeOut(root);
    } finally {
      await run('umount', [root]);
    }
    await until('the file system to be let go', async () => (await mountsBelow(root)).length === 0);
    await partitioned(join(work, 'raw'), filesystem, disk.table, disk.mib);
    await mkdir(dirname(file), { recursive: true });
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', disk.table === 'none' ? filesystem : join(work, 'raw'), file]);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const MAKER_OPTIONS: Readonly<Record<Filesystem, readonly string[]>> = { ext4: ['-q', '-F'], xfs: ['-q', '-f'], btrfs: ['-q', '-f'], ntfs: ['-q', '-F', '-f'] };

/**
 * Makes a QCOW2 file of a file system that was in use at that instant, as a snapshot of a running guest sees it: its journal holds what was never written elsewhere.
 * The folder /before was there in peace.
 */
export async function makeDirtyDisk(file: string, filesystem: Exclude<Filesystem, 'ntfs'>, mib: number): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'sendense-guest-'));
  try {
    const raw = join(work, 'raw');
    const root = join(work, 'root');
    await mkdir(root);
    await emptyFile(raw, mib);
    await run(MAKERS[filesystem], [...MAKER_OPTIONS[filesystem], raw]);
    await run('mount', ['-o', 'loop', raw, root]);
    try {
      await mkdir(join(root, 'before'));
      await writeFile(join(root, 'before', 'hello'), 'hello\n');
      await run('umount', [root]);
      await run('mount', ['-o', 'loop', raw, root]);
      await writeFile(join(root, 'journalled'), 'only the journal knows of it\n', { flush: true });
      await run('cp', ['--sparse=always', raw, join(work, 'seen')]);
    } finally {
      await run('umount', [root]);
    }
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', join(work, 'seen'), file]);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Puts a raw file system behind a partition table. */
export async function partitioned(target: string, filesystem: string, table: PartitionTable, mib: number): Promise<void> {
  if (table === 'none') return;
  await emptyFile(target, mib + 2 * START_MIB);
  const script = join(dirname(target), 'table');
  await writeFile(script, `label: ${table}\nstart=${(START_MIB * MIB) / 512},size=${(mib * MIB) / 512}\n`);
  await runWithInput('sfdisk', ['-q', target], script);
  await run('dd', [`if=${filesystem}`, `of=${target}`, 'bs=1M', `seek=${START_MIB}`, 'conv=notrunc,sparse', 'status=none']);
}

/** Changes the file system of a powered-off VM's disk as its guest would: through qemu, so that bitmaps record it. */
export async function changeGuestDisk(file: string, table: PartitionTable, change: (root: string) => Promise<void>): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'sendense-guest-'));
  const supervisor = new ShellProcessSupervisor();
  const raw = join(work, 'raw');
  const root = join(work, 'root');
  await mkdir(root);
  await writeFile(raw, '');
  try {
    await supervisor.start(join(work, 'qsd'), [
      'qemu-storage-daemon',
      '--blockdev',
      JSON.stringify({ driver: 'qcow2', 'node-name': 'disk', file: { driver: 'file', filename: file } }),
      '--export',
      JSON.stringify({ type: 'fuse', id: 'disk', 'node-name': 'disk', mountpoint: raw, writable: true }),
    ]);
    await until('the disk to be shown', async () => (await mountsBelow(raw)).length > 0);
    await run('mount', ['-o', table === 'none' ? 'loop' : `loop,offset=${START_MIB * MIB}`, raw, root]);
    try {
      await change(root);
      await writeOut(root);
    } finally {
      await run('umount', [root]);
    }
  } finally {
    await supervisor.stop(join(work, 'qsd'), 10_000);
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Writes everything out of memory and out of the journal. umount alone does not where a process of another test has copied the mount into a namespace of its own:
 * the file system then stays mounted there.
 */
async function writeOut(root: string): Promise<void> {
  await run('fsfreeze', ['--freeze', root]);
  await run('fsfreeze', ['--unfreeze', root]);
}

export async function emptyFile(path: string, mib: number): Promise<void> {
  await writeFile(path, '');
  await truncate(path, mib * MIB);
}

export async function runWithInput(tool: string, argv: readonly string[], inputFile: string): Promise<void> {
  const running = run(tool, [...argv]);
  running.child.stdin?.end(await readFile(inputFile));
  await running;
}
