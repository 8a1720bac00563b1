import { type BigIntStats, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mountOf, mountTable, type MountTableEntry, parseMountInfo } from '../../../lib/files/mount-table.js';
import { runTool } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';

/** The same for every name of one file: hard links, renames, bind mounts. */
export function fileIdentity(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}`;
}

/** Processes inspected before yielding. Inspection is synchronous, which is many times faster for thousands of tiny files in /proc. */
const PROCESSES_A_TURN = 50;
const LOOK_AT_FILE_MS = 5_000;
/**
 * Files on these have other device numbers than their mounts (btrfs: one per subvolume, overlayfs: that of a layer), so the files themselves must be queried.
 * https://www.kernel.org/doc/html/latest/filesystems/overlayfs.html#inode-properties
 */
const ASKED_FOR_DEVICE: ReadonlySet<string> = new Set(['btrfs', 'overlay']);

/** A scan of all programs, shared by all callers that requested it. */
interface Look {
  readonly wanted: Set<string>;
  readonly writers: Promise<ReadonlyMap<string, string>>;
}

/** The last scan that has finished: when it began, as performance.now(), and what it was for. */
let done: { readonly begunMs: number; readonly wanted: ReadonlySet<string>; readonly writers: ReadonlyMap<string, string> } | null = null;
/** Not started yet, so new callers can still join. */
let nextLook: Look | null = null;
let lastLook: Promise<unknown> = Promise.resolve();

/**
 * Which of the files (see fileIdentity) are open for writing by a program on this machine, or back a writable loop device: identity -> holder, in words.
 * Only root sees other users' programs. File systems that hold none of the files are not accessed, because a hanging one would block this process too.
 * A scan costs the same for one file as for a hundred, so callers that arrive during a scan share the next one.
 * @param maxAgeMs a scan may be this old if it found no writer of the files; default: it begins after the call
 */
export async function findWriters(wanted: ReadonlySet<string>, maxAgeMs = 0): Promise<ReadonlyMap<string, string>> {
  if (wanted.size === 0 || wasFreeOfWriters(wanted, maxAgeMs)) return new Map();
  nextLook ??= lookAfterLast();
  for (const identity of wanted) nextLook.wanted.add(identity);
  const writers = await nextLook.writers;
  return new Map([...writers].filter(([identity]) => wanted.has(identity)));
}

function wasFreeOfWriters(wanted: ReadonlySet<string>, maxAgeMs: number): boolean {
  if (done === null || performance.now() - done.begunMs >= maxAgeMs) return false;
  const { wanted: known, writers } = done;
  return [...wanted].every((identity) => known.has(identity) && !writers.has(identity));
}

function lookAfterLast(): Look {
  const wanted = new Set<string>();
  const writers = lastLook.then(async () => {
    nextLook = null;
    const begunMs = performance.now();
    const found = await lookForWriters(wanted);
    done = { begunMs, wanted, writers: found };
    return found;
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
      // Most open descriptors are sockets, pipes and devices, recognisable by their names.
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

/**
 * Uses a process that can be abandoned: the file shares a file system with one of the wanted disks, and that file system may hang while disks on others are
 * wanted too.
 */
async function identityOrNull(path: string): Promise<string | null> {
  try {
    return (await runTool(['stat', '--format=%d:%i', '--', path], { deadlineMs: LOOK_AT_FILE_MS })).stdout.trim();
  } catch (error) {
    if (error instanceof ToolError && error.code === 'tool_missing') throw error;
    return null;
  }
}

/** Identifies a descriptor's file from the kernel's tables, which answer even while the file's own file system does not. */
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

  /** @param info content of its /proc/<pid>/fdinfo entry @returns null for a file that cannot be a wanted one */
  identityOf(pid: string, descriptor: string, info: string): string | null {
    const mount = this.mountNamed(pid, /^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? '');
    if (!this.mayHold(mount)) return null;
    // Present since Linux 5.14.
    const inode = /^ino:\s*(\d+)/m.exec(info)?.[1];
    if (mount !== undefined && !ASKED_FOR_DEVICE.has(mount.filesystemType) && inode !== undefined) return `${mount.device}:${inode}`;
    // The file of a detached mount may be on a hanging file system; its inode number rarely matches that of a wanted file.
    if (mount === undefined && inode !== undefined && !this.inodes.has(inode)) return null;
    const stats = attempt(() => statSync(`/proc/${pid}/fd/${descriptor}`, { bigint: true, throwIfNoEntry: false }));
    return stats === null || stats === undefined ? null : fileIdentity(stats);
  }

  /** A mount that is in no table (detached lazily while files are open) may be any. */
  mayHold(mount: MountTableEntry | undefined): boolean {
    return mount === undefined || ASKED_FOR_DEVICE.has(mount.filesystemType) || this.devices.has(String(mount.device));
  }

  /** The process may be in its own mount namespace. */
  private mountNamed(pid: string, id: string): MountTableEntry | undefined {
    if (!this.mounts.has(id)) {
      const table = attempt(() => parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))) ?? [];
      for (const mount of table) this.mounts.set(mount.mountId, mount);
    }
    return this.mounts.get(id);
  }
}

/** The access mode is in the lowest two bits of the octal flags: 0 is read-only. */
function isOpenForWriting(info: string): boolean {
  const flags = /^flags:\s*([0-7]+)/m.exec(info)?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 3) !== 0;
}

function entries(directory: string): readonly string[] {
  return attempt(() => readdirSync(directory)) ?? [];
}

/** Processes and devices come and go during a scan, and some may not be inspected by this account. */
function attempt<Result>(look: () => Result): Result | null {
  try {
    return look();
  } catch {
    return null;
  }
}
