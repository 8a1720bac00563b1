import { type BigIntStats, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** The same for every name of one file: hard links, renames, bind mounts. */
export function fileIdentity(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}`;
}

/** Processes looked at before others get a turn; looking is synchronous because that is many times faster for thousands of tiny files in /proc. */
const PROCESSES_A_TURN = 50;

/**
 * Which of the files (see fileIdentity) a program on this machine has open for writing, or a writable loop device stands on: identity -> who, in words.
 * Programs of other users are seen only by root.
 */
export async function findWriters(wanted: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const writers = new Map<string, string>();
  if (wanted.size === 0) return writers;
  let looked = 0;
  for (const pid of entries('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    if (++looked % PROCESSES_A_TURN === 0) await nextTurn();
    for (const descriptor of entries(`/proc/${pid}/fd`)) {
      const link = `/proc/${pid}/fd/${descriptor}`;
      // Sockets, pipes and devices are most of what is open; their targets tell without a stat.
      const target = attempt(() => readlinkSync(link));
      if (target === null || !target.startsWith('/') || (target.startsWith('/dev/') && !target.startsWith('/dev/shm/')) || target.startsWith('/proc/'))
        continue;
      const identity = identityAt(link);
      if (identity === null || !wanted.has(identity) || writers.has(identity)) continue;
      if (isOpenForWriting(pid, descriptor))
        writers.set(identity, `process ${pid} (${attempt(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? 'unknown'})`);
    }
  }
  for (const device of entries('/sys/block')) {
    if (!device.startsWith('loop')) continue;
    const backing = attempt(() => readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8').replace(/\n$/, ''));
    const identity = backing === null ? null : identityAt(backing);
    if (identity !== null && wanted.has(identity) && attempt(() => readFileSync(`/sys/block/${device}/ro`, 'utf8').trim()) === '0') {
      writers.set(identity, `the writable loop device /dev/${device}`);
    }
  }
  return writers;
}

/** The access mode is in the lowest two bits of the octal flags: 0 is read only. */
function isOpenForWriting(pid: string, descriptor: string): boolean {
  const info = attempt(() => readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8'));
  const flags = /^flags:\s*([0-7]+)/m.exec(info ?? '')?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 3) !== 0;
}

function identityAt(path: string): string | null {
  const stats = attempt(() => statSync(path, { bigint: true, throwIfNoEntry: false }));
  return stats === null || stats === undefined ? null : fileIdentity(stats);
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
