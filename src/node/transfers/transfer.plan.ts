import { type ImageGraph, imageName } from '../../lib/qemu/image-graph.plan.js';

/** Resources of one copy next to the hub. nbdcopy's own queue bounds its memory (16 MiB per thread), whatever is set here. */
export interface CopyTuning {
  /** NBD connections per disk. */
  readonly connections: number;
  /** Requests in flight per connection. */
  readonly requests: number;
  /** Bytes. */
  readonly requestSize: number;
}

/** Bytes per second, and the file through which the rate changes during the copy. */
export interface RateLimit {
  readonly bytesPerSecond: number;
  readonly file: string;
}

type Argv = readonly [string, ...string[]];

/**
 * nbdcopy rounds its copies to whole requests. Requests larger than the granularity of the sources' change tracking (64 KiB) would include the unchanged
 * neighbours of every changed block: four times the data if changes are scattered.
 */
const CHANGED_REQUEST_BYTES = 65_536;

function common(tuning: CopyTuning): readonly string[] {
  return [
    '--progress=3',
    // The target is a new file (holes, or the parent, show through), so holes and zeroes of the source need not be sent.
    '--destination-is-zero',
    `--connections=${tuning.connections}`,
    `--requests=${tuning.requests}`,
    `--request-size=${tuning.requestSize}`,
    // No --flush: the hub stops the exports and fsyncs the files itself when it seals them, so a flush here would only wait for the same pages twice.
  ];
}

/**
 * nbdcopy's threads report progress only every 64 MiB or more, which a slow copy takes many seconds for. A copy without threads reports each request, and is
 * fast enough for rates below this, in bytes per second.
 */
const SLOW_BPS = 32 * 1024 * 1024;

function pace(limit: RateLimit | null): readonly string[] {
  return limit !== null && limit.bytesPerSecond < SLOW_BPS ? ['--synchronous'] : [];
}

/** The command that copies a disk, and the file of its run directory that holds its progress. */
export interface Copy {
  readonly argv: Argv;
  readonly progress: 'fd3' | 'stdout';
  /** It opens the image itself. */
  readonly readsImage?: boolean;
}

export interface CopySource {
  /** NBD URI. */
  readonly uri: string;
  readonly opened?: ImageGraph | null;
}

/** Settings with which a copy across a network survives losses of it. */
export interface NetworkRide {
  /** Node, and the path of main.copy.js. */
  readonly program: Argv;
  /** How long to wait for an unreachable target. */
  readonly patienceSeconds: number;
}

/** The extents to copy, and how unwritten parts of the target read: as zeroes of a new file, or as the disk's parent. */
export interface NetworkExtents {
  /** Path of a list as written by extentListText. */
  readonly file: string;
  /** Path for the KeyedDigest of the sent data, as JSON, written before the copy exits with 0. */
  readonly digestFile: string;
  readonly onto: 'new' | 'parent';
}

/**
 * Connections per disk across a network. Each is a channel of an SSH connection with a window of 2 MiB, so several are needed to fill a long line. In
 * measurements sixteen were not faster.
 */
const NETWORK_CONNECTIONS = 8;
/** Bytes read and not yet answered by the target; fills a line of 1 GiB/s with a round trip of 30 ms. */
const NETWORK_MEMORY_BYTES = 33_554_432;

/**
 * Copies with a program of our own (ADR 15): each request is repeated over a new connection until it is answered or the patience is exhausted, and answered
 * data is never sent twice.
 */
export function networkCopy(sourceUri: string, extents: NetworkExtents, targetUri: string, ride: NetworkRide, limit: RateLimit | null): Copy {
  const argv: Argv = [
    ...ride.program,
    '--progress=3',
    `--source=${sourceUri}`,
    `--target=${targetUri}`,
    `--extents=${extents.file}`,
    `--onto=${extents.onto}`,
    `--digest=${extents.digestFile}`,
    `--connections=${NETWORK_CONNECTIONS}`,
    `--memory-bytes=${NETWORK_MEMORY_BYTES}`,
    `--patience-seconds=${ride.patienceSeconds}`,
    // Only the file, which holds the rate from the beginning.
    ...(limit === null ? [] : [`--rate-file=${limit.file}`]),
  ];
  return { argv, progress: 'fd3' };
}

/**
 * Copies all allocated data of a disk; holes and zeroes are not written. From an image to a server on the same machine, qemu-img reads the file itself: without
 * a server in between it takes a quarter less processor time for the same bytes. It has no rate limit, so limited copies use nbdcopy.
 */
export function fullCopy(source: CopySource, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Copy {
  const { opened = null } = source;
  if (opened === null || limit !== null) return { argv: fullCopyArgv(source.uri, targetUri, tuning, limit), progress: 'fd3' };
  return {
    argv: ['qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-m', '16', '-S', '64k', '-O', 'raw', imageName(opened), targetUri],
    progress: 'stdout',
    readsImage: true,
  };
}

/** Copies all allocated data of a disk over NBD on both sides. limit null: unlimited. */
export function fullCopyArgv(sourceUri: string, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Argv {
  const source = limit === null ? [sourceUri] : ['[', 'nbdkit', '--exit-with-parent', '-r', '--filter=rate', 'nbd', `uri=${sourceUri}`, ...rateOf(limit), ']'];
  return ['nbdcopy', ...common(tuning), ...pace(limit), '--', ...source, targetUri];
}

/** Content of the rate file: bits per second. */
export function rateText(bytesPerSecond: number): string {
  return `${Math.max(1, Math.floor(bytesPerSecond)) * 8}\n`;
}

function rateOf(limit: RateLimit): readonly string[] {
  return [`rate=${rateText(limit.bytesPerSecond).trim()}`, `rate-file=${limit.file}`];
}

/**
 * Copies only the extents of the list. nbdcopy treats everything else as a hole, so the target's backing file shows through there. --sparse=0 makes it write
 * changed blocks that became zero, which must hide the parent's data. --exit-with-parent: nbdkit must not outlive an nbdcopy that was killed.
 */
export function changedCopyArgv(sourceUri: string, extentListFile: string, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Argv {
  const filters = limit === null ? [] : ['--filter=rate'];
  const parameters = [`uri=${sourceUri}`, `extentlist=${extentListFile}`, ...(limit === null ? [] : rateOf(limit))];
  const source = ['nbdkit', '--exit-with-parent', '-r', ...filters, '--filter=extentlist', 'nbd', ...parameters];
  const requestSize = Math.min(tuning.requestSize, CHANGED_REQUEST_BYTES);
  return ['nbdcopy', ...common({ ...tuning, requestSize }), ...pace(limit), '--sparse=0', '--', '[', ...source, ']', targetUri];
}
