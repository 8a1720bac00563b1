/** How hard one copy may pull. Memory per copy is bounded by nbdcopy's own queue (16 MiB per thread), whatever is set here. */
export interface CopyTuning {
  /** NBD connections per disk: one alone collapses with latency. */
  readonly connections: number;
  /** Requests in flight per connection. */
  readonly requests: number;
  /** Bytes. */
  readonly requestSize: number;
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

/** All allocated data of a disk; holes and zeroes are not written. */
export function fullCopyArgv(sourceUri: string, targetUri: string, tuning: CopyTuning): Argv {
  return ['nbdcopy', ...common(tuning), '--', sourceUri, targetUri];
}

/**
 * Only the extents of the list. Everything else looks like a hole to nbdcopy, so the target's backing file shows through there; --sparse=0 is what makes it write
 * changed blocks that became zero, which must hide the parent's data. --exit-with-parent: nbdkit must not outlive an nbdcopy that was killed.
 */
export function changedCopyArgv(sourceUri: string, extentListFile: string, targetUri: string, tuning: CopyTuning): Argv {
  const source = ['nbdkit', '--exit-with-parent', '-r', '--filter=extentlist', 'nbd', `uri=${sourceUri}`, `extentlist=${extentListFile}`];
  const requestSize = Math.min(tuning.requestSize, CHANGED_REQUEST_BYTES);
  return ['nbdcopy', ...common({ ...tuning, requestSize }), '--sparse=0', '--', '[', ...source, ']', targetUri];
}
