import { type ImageGraph, imageName } from '../../lib/qemu/image-graph.plan.js';

/** How hard one copy beside the hub may pull. Memory per copy is bounded by nbdcopy's own queue (16 MiB per thread), whatever is set here. */
export interface CopyTuning {
  /** NBD connections per disk. */
  readonly connections: number;
  /** Requests in flight per connection. */
  readonly requests: number;
  /** Bytes. */
  readonly requestSize: number;
}

/** Bytes per second, and the file by which that is changed while the copy runs. */
export interface RateLimit {
  readonly bytesPerSecond: number;
  readonly file: string;
}

type Argv = readonly [string, ...string[]];

/**
 * nbdcopy rounds what it copies to whole requests, so larger ones than the grain in which sources track changes (64 KiB) would carry the unchanged neighbours of every
 * changed block along: four times the data where changes are scattered.
 */
const CHANGED_REQUEST_BYTES = 65_536;

function common(tuning: CopyTuning): readonly string[] {
  return [
    '--progress=3',
    // The target is a new file (holes, or the parent, show through), so what the source says is a hole or zero need not be sent.
    '--destination-is-zero',
    `--connections=${tuning.connections}`,
    `--requests=${tuning.requests}`,
    `--request-size=${tuning.requestSize}`,
    // No --flush: the hub stops the exports and fsyncs the files itself when it seals them, and a flush here would only wait for the same pages twice.
  ];
}

/**
 * nbdcopy's threads report their progress once for 64 MiB and more, which a slow copy takes many seconds for; one that copies request by request reports each, and is fast enough for
 * a rate of less than this, in bytes per second.
 */
const SLOW_BPS = 32 * 1024 * 1024;

function pace(limit: RateLimit | null): readonly string[] {
  return limit !== null && limit.bytesPerSecond < SLOW_BPS ? ['--synchronous'] : [];
}

/** What runs to copy a disk, and which file of its run directory tells how far it is. */
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

/** What a copy across a network needs to outlast losses of it. */
export interface NetworkRide {
  /** Node, and the path of main.copy.js. */
  readonly program: Argv;
  /** How long a target that cannot be reached is waited for. */
  readonly patienceSeconds: number;
}

/** What is copied, and what the target shows where nothing is written: zeroes of a new file, or the disk's parent. */
export interface NetworkExtents {
  /** Path of a list as extentListText writes it. */
  readonly file: string;
  /** Path that the KeyedDigest of what was sent is written to, as JSON, before the copy ends with 0. */
  readonly digestFile: string;
  readonly onto: 'new' | 'parent';
}

/** Connections per disk across a network: each is a channel of an SSH connection, with a window of 2 MiB, so it takes several to fill a long line. Sixteen were not faster where that was measured. */
const NETWORK_CONNECTIONS = 8;
/** Read, and not yet answered by the target: what fills a line of 1 GiB/s with 30 ms there and back. */
const NETWORK_MEMORY_BYTES = 33_554_432;

/**
 * A copy by a program of our own (ADR 15): each request is sent again, over a new connection, until it is answered or the patience is at an end, and nothing that was answered is sent twice.
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
    // The file alone: it holds the rate from the beginning.
    ...(limit === null ? [] : [`--rate-file=${limit.file}`]),
  ];
  return { argv, progress: 'fd3' };
}

/**
 * All allocated data of a disk; holes and zeroes are not written. From an image on this machine into a server on this machine qemu-img reads the file itself: without a
 * server in between, a quarter less processor time for the same bytes. It cannot be limited, so what is limited is nbdcopy's.
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

/** All allocated data of a disk over NBD on both sides. limit null: as fast as it goes. */
export function fullCopyArgv(sourceUri: string, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Argv {
  const source = limit === null ? [sourceUri] : ['[', 'nbdkit', '--exit-with-parent', '-r', '--filter=rate', 'nbd', `uri=${sourceUri}`, ...rateOf(limit), ']'];
  return ['nbdcopy', ...common(tuning), ...pace(limit), '--', ...source, targetUri];
}

/** The content of the rate's file: bits per second. */
export function rateText(bytesPerSecond: number): string {
  return `${Math.max(1, Math.floor(bytesPerSecond)) * 8}\n`;
}

function rateOf(limit: RateLimit): readonly string[] {
  return [`rate=${rateText(limit.bytesPerSecond).trim()}`, `rate-file=${limit.file}`];
}

/**
 * Only the extents of the list. Everything else looks like a hole to nbdcopy, so the target's backing file shows through there; --sparse=0 is what makes it write
 * changed blocks that became zero, which must hide the parent's data. --exit-with-parent: nbdkit must not outlive an nbdcopy that was killed.
 */
export function changedCopyArgv(sourceUri: string, extentListFile: string, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Argv {
  const filters = limit === null ? [] : ['--filter=rate'];
  const parameters = [`uri=${sourceUri}`, `extentlist=${extentListFile}`, ...(limit === null ? [] : rateOf(limit))];
  const source = ['nbdkit', '--exit-with-parent', '-r', ...filters, '--filter=extentlist', 'nbd', ...parameters];
  const requestSize = Math.min(tuning.requestSize, CHANGED_REQUEST_BYTES);
  return ['nbdcopy', ...common({ ...tuning, requestSize }), ...pace(limit), '--sparse=0', '--', '[', ...source, ']', targetUri];
}
