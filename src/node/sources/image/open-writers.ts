import { type BigIntStats, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mountOf, mountTable, type MountTableEntry, parseMountInfo } from '../../../lib/files/mount-table.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';

/** The same for every name of one file: hard links, renames, bind mounts. */
export function fileIdentity(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}`;
}

/** Processes looked at before others get a turn; looking is synchronous because that is many times faster for thousands of tiny files in /proc. */
const PROCESSES_A_TURN = 50;
const LOOK_AT_FILE_MS = 5_000;
/**
 * Their files have other device numbers than their mounts (btrfs: one for each subvolume, overlayfs: that of a layer), so the files have to be asked themselves.
 * https://www.kernel.org/doc/html/latest/filesystems/overlayfs.html#inode-properties
 */
const ASKED_FOR_DEVICE: ReadonlySet<string> = new Set(['btrfs', 'overlay']);

/** A look at all programs, for all who have asked for it. */
interface Look {
  readonly wanted: Set<string>;
  readonly writers: Promise<ReadonlyMap<string, string>>;
}

/** Not begun yet: who asks now can still join. */
let nextLook: Look | null = null;
let lastLook: Promise<unknown> = Promise.resolve();

/**
 * Which of the files (see fileIdentity) a program on this machine has open for writing, or a writable loop device stands on: identity -> who, in words.
 * Programs of other users are seen only by root. File systems that none of the files is on are not touched: one that hangs would hang this process too.
 * A look costs as much for one file as for a hundred, so those who ask while one is under way share the next.
 */
export async function findWriters(wanted: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  if (wanted.size === 0) return new Map();
  nextLook ??= lookAfterLast();
  for (const identity of wanted) nextLook.wanted.add(identity);
  const writers = await nextLook.writers;
  return new Map([...writers].filter(([identity]) => wanted.has(identity)));
}

function lookAfterLast(): Look {
  const wanted = new Set<string>();
  const writers = lastLook.then(() => {
    nextLook = null;
    return lookForWriters(wanted);
  });
  lastLook = writers.catch(() => undefined);
  return { wanted, writers };
}

async function lookForWriters(wanted: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const writers = new Map<string, string>();
  const mounts = await mountTable();
  const whereabouts = new Whereabouts(wanted, mounts);
  let looked = 0;
  for (const pid of entries('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    if (++looked % PROCESSES_A_TURN === 0) await nextTurn();
    for (const descriptor of entries(`/proc/${pid}/fd`)) {
      // Sockets, pipes and devices are most of what is open; their names tell.
      const target = attempt(() => readlinkSync(`/proc/${pid}/fd/${descriptor}`));
      if (target === null || !target.startsWith('/') || (target.startsWith('/dev/') && !target.startsWith('/dev/shm/')) || target.startsWith('/proc/'))
        continue;
      const info = attempt(() => readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8'));
      if (info === null || !isOpenForWriting(info)) continue;
      const identity = whereabouts.identityOf(pid, descriptor, info);
      if (identity === null || !wanted.has(identity) || writers.has(identity)) continue;
      writers.set(identity, `process ${pid} (${attempt(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? 'unknown'})`);
    }
  }
  const loops = entries('/sys/block').flatMap((device) => {
    const backing = attempt(() => readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8').replace(/\n$/, ''));
    const isWritable = attempt(() => readFileSync(`/sys/block/${device}/ro`, 'utf8').trim()) === '0';
    return backing !== null && isWritable && whereabouts.mayHold(mountOf(backing, mounts)) ? [{ device, backing }] : [];
  });
  const identities = await Promise.all(loops.map(({ backing }) => identityOrNull(backing)));
  for (const [index, { device }] of loops.entries()) {
    const identity = identities[index] ?? null;
    if (identity !== null && wanted.has(identity)) writers.set(identity, `the writable loop device /dev/${device}`);
  }
  return writers;
}

/** By a program that can be given up: the file is on the file system of one of the disks looked for, and that may hang while others are looked for as well. */
async function identityOrNull(path: string): Promise<string | null> {
  try {
    return (await runTool(['stat', '--format=%d:%i', '--', path], { deadlineMs: LOOK_AT_FILE_MS })).stdout.trim();
  } catch (error) {
    if (error instanceof ToolError && error.code === 'tool_missing') throw error;
    return null;
  }
}

/** Tells what file a descriptor stands for from what the kernel's tables say, for they answer also while the file's own file system does not. */
class Whereabouts {
  private readonly devices: ReadonlySet<string>;
  private readonly inodes: ReadonlySet<string>;
  private readonly mounts: Map<string, MountTableEntry>;

  constructor(wanted: ReadonlySet<string>, mounts: readonly MountTableEntry[]) {
    const files = [...wanted].map((identity) => identity.split(':'));
    this.devices = new Set(files.map(([device = '']) => device));
    this.inodes = new Set(files.map(([, inode = '']) => inode));
    this.mounts = new Map(mounts.map((mount) => [mount.mountId, mount]));
  }

  /** @param info what /proc/<pid>/fdinfo says of it @returns null for a file that cannot be one of those wanted */
  identityOf(pid: string, descriptor: string, info: string): string | null {
    const mount = this.mountNamed(pid, /^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? '');
    if (!this.mayHold(mount)) return null;
    // Told since Linux 5.14.
    const inode = /^ino:\s*(\d+)/m.exec(info)?.[1];
    if (mount !== undefined && !ASKED_FOR_DEVICE.has(mount.filesystemType) && inode !== undefined) return `${mount.device}:${inode}`;
    // The file of a mount taken away may be on a file system that hangs; hardly one of those has the number of a file that is wanted.
    if (mount === undefined && inode !== undefined && !this.inodes.has(inode)) return null;
    const stats = attempt(() => statSync(`/proc/${pid}/fd/${descriptor}`, { bigint: true, throwIfNoEntry: false }));
    return stats === null || stats === undefined ? null : fileIdentity(stats);
  }

  /** A mount that no table names (taken away lazily while files are open) may be any. */
  mayHold(mount: MountTableEntry | undefined): boolean {
    return mount === undefined || ASKED_FOR_DEVICE.has(mount.filesystemType) || this.devices.has(String(mount.device));
  }

  /** The process may be in a mount namespace of its own. */
  private mountNamed(pid: string, id: string): MountTableEntry | undefined {
    if (!this.mounts.has(id)) {
      const table = attempt(() => parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))) ?? [];
      for (const mount of table) this.mounts.set(mount.mountId, mount);
    }
    return this.mounts.get(id);
  }
}

/** The access mode is in the lowest two bits of the octal flags: 0 is read only. */
function isOpenForWriting(info: string): boolean {
  const flags = /^flags:\s*([0-7]+)/m.exec(info)?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 3) !== 0;
}

function entries(directory: string): readonly string[] {
  return attempt(() => readdirSync(directory)) ?? [];
}

/** Processes and devices come and go while they are looked at, and some are not ours to see. */
function attempt<Result>(look: () => Result): Result | null {
  try {
    return look();
  } catch {
    return null;
  }
}
