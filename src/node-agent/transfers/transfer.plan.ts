/** How hard one copy may pull. Memory per copy is bounded by nbdcopy's own queue (16 MiB per thread), whatever is set here. */
export interface CopyTuning {
  /** NBD connections per disk: one alone collapses with latency. */
  readonly connections: number;
  /** Requests in flight per connection. */
  readonly requests: number;
  /** Bytes. */
  readonly requestSize: number;
  /** The targets are served on this machine, not at the far end of a network. */
  readonly targetsAreLocal: boolean;
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

/** What runs to copy a disk, and which file of its run directory tells how far it is. */
export interface Copy {
  readonly argv: Argv;
  readonly progress: 'fd3' | 'stdout';
}

export interface CopySource {
  /** NBD URI. */
  readonly uri: string;
  readonly image: { readonly path: string; readonly format: 'qcow2' | 'raw' } | null;
}

/** What a copy across a network needs to outlast losses of it. */
export interface NetworkRide {
  /** Path of with-server.sh. */
  readonly script: string;
  /** Folder for sockets of this copy alone. */
  readonly sockets: string;
  /** How long one request is tried again. */
  readonly patienceSeconds: number;
}

/**
 * Connections per disk across a network. Each carries one request at a time, because what tries it again has to know which one that was; so it takes several to fill a long line.
 */
const NETWORK_CONNECTIONS = 16;
const NETWORK_REQUEST_BYTES = 4_194_304;
/** Bytes that nbdcopy holds for each of its threads, one for each connection. */
const NETWORK_QUEUE_BYTES = 4_194_304;
/** Seconds for which one attempt to connect is repeated: the first connection has no other patience. */
const CONNECT_PATIENCE_S = 30;

/**
 * A copy whose every request is tried again, over a new connection, until it has arrived or the patience is at an end: nothing that has arrived is sent twice. nbdkit's retry filter does
 * that between nbdcopy and the target.
 * @param extentListFile what to copy; null: all allocated data
 */
export function networkCopy(
  sourceUri: string,
  extentListFile: string | null,
  targetUri: string,
  tuning: CopyTuning,
  ride: NetworkRide,
  limit: RateLimit | null,
): Copy {
  const connectPatience = Math.min(CONNECT_PATIENCE_S, ride.patienceSeconds);
  const target = [
    ...['--filter=retry', ...(limit === null ? [] : ['--filter=rate']), '--filter=log', 'nbd', `uri=${targetUri}`, `retry=${connectPatience}`],
    ...[`retries=${Math.ceil(ride.patienceSeconds / (connectPatience + 1))}`, 'retry-delay=1', 'retry-exponential=no', 'logfile=/dev/fd/9'],
    ...(limit === null ? [] : rateOf(limit)),
  ];
  const source = extentListFile === null ? null : ['-r', '--filter=extentlist', 'nbd', `uri=${sourceUri}`, `extentlist=${extentListFile}`];
  const requestSize = extentListFile === null ? Math.max(tuning.requestSize, NETWORK_REQUEST_BYTES) : Math.min(tuning.requestSize, CHANGED_REQUEST_BYTES);
  const argv: Argv = [
    ...served('target', target, ride),
    ...(source === null ? [] : served('source', source, ride)),
    'nbdcopy',
    ...common({ ...tuning, connections: NETWORK_CONNECTIONS, requestSize }),
    // Otherwise there are no more than processors, and no more connections than threads.
    `--threads=${NETWORK_CONNECTIONS}`,
    `--queue-size=${NETWORK_QUEUE_BYTES}`,
    ...(extentListFile === null ? [] : ['--sparse=0']),
    '--',
    source === null ? sourceUri : socketUri('source', ride),
    socketUri('target', ride),
  ];
  return { argv, progress: 'fd3' };
}

/**
 * Files with the pids of a copy's servers. They end with their parent, but one that waits for a network does not notice that it was asked to before its attempt to connect is over.
 */
export function serverPidFiles(sockets: string): readonly string[] {
  return ['target', 'source'].map((name) => `${sockets}/${name}.pid`);
}

/** The beginning of a command line whose rest has a server. */
function served(name: string, server: readonly string[], { script, sockets }: NetworkRide): Argv {
  const pidFile = `${sockets}/${name}.pid`;
  const nbdkit = ['nbdkit', '--foreground', '--exit-with-parent', '--unix', `${sockets}/${name}.sock`, '--pidfile', pidFile, ...server];
  return ['bash', script, pidFile, String(nbdkit.length), ...nbdkit];
}

function socketUri(name: string, { sockets }: NetworkRide): string {
  return `nbd+unix:///?socket=${encodeURIComponent(`${sockets}/${name}.sock`)}`;
}

/**
 * All allocated data of a disk; holes and zeroes are not written. From an image on this machine into a server on this machine qemu-img reads the file itself: without a
 * server in between, a quarter less processor time for the same bytes. It has one connection, which collapses with latency, so everything else is nbdcopy's,
 * and so is what is limited.
 */
export function fullCopy(source: CopySource, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Copy {
  if (source.image === null || !tuning.targetsAreLocal || limit !== null) return { argv: fullCopyArgv(source.uri, targetUri, tuning, limit), progress: 'fd3' };
  const { path, format } = source.image;
  return {
    argv: ['qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-m', '16', '-S', '64k', '-f', format, '-O', 'raw', path, targetUri],
    progress: 'stdout',
  };
}

/** All allocated data of a disk over NBD on both sides. limit null: as fast as it goes. */
export function fullCopyArgv(sourceUri: string, targetUri: string, tuning: CopyTuning, limit: RateLimit | null = null): Argv {
  const source = limit === null ? [sourceUri] : ['[', 'nbdkit', '--exit-with-parent', '-r', '--filter=rate', 'nbd', `uri=${sourceUri}`, ...rateOf(limit), ']'];
  return ['nbdcopy', ...common(tuning), '--', ...source, targetUri];
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
  return ['nbdcopy', ...common({ ...tuning, requestSize }), '--sparse=0', '--', '[', ...source, ']', targetUri];
}
