import { readFileSync, writeFileSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { messageOf } from '../../kernel/error-message.js';
import { CONTENT_BLOCK, CONTENT_GRAIN, ContentDigest } from '../../contract/content-digest.js';
import { NbdConnection, NbdReplyError } from './nbd-connection.js';
import { parseNbdAddress } from '../../lib/nbd/nbd-uri.js';
import { type Extent, parseExtentList, wholeGrains } from '../model/extents.plan.js';
import { type CopyEnds, CopyFailedError, NetworkCopy, type TargetConnection } from './network-copy.js';
import { piecesOf, positionOf, type TargetWrite } from './network-copy.plan.js';

/** qemu's servers process sixteen requests per connection at a time. */
const SOURCE_CONNECTIONS = 4;
const SOURCE_ATTEMPT_MS = 30_000;
const TARGET_ATTEMPT_MS = 20_000;
/** Seconds. Longer than the tunnel takes to give up a dead connection, which then ends ours as well. */
const SILENCE = '30';
/** Whole CONTENT_BLOCKs. Each request costs processor time in four programs, and half the size costs a tenth more for the same bytes. */
const REQUEST_BYTES = 2 * CONTENT_BLOCK;
const PROGRESS_MS = 500;
const RATE_FILE_MS = 250;
const BITS = 8;

const OPTIONS = {
  source: { type: 'string' },
  target: { type: 'string' },
  extents: { type: 'string' },
  onto: { type: 'string' },
  connections: { type: 'string' },
  'memory-bytes': { type: 'string' },
  'patience-seconds': { type: 'string' },
  'silence-seconds': { type: 'string', default: SILENCE },
  'rate-file': { type: 'string' },
  progress: { type: 'string' },
  digest: { type: 'string' },
} as const;

/**
 * Copies one disk to a target across a network; `networkCopy` in transfer.plan.ts builds the command line.
 * @returns exit code: 0 when everything is on the target; otherwise the last line on stderr has the reason
 */
export async function runNetworkCopy(argv: readonly string[]): Promise<number> {
  try {
    await copy(argv);
    return 0;
  } catch (error) {
    process.stderr.write(`sendense copy: ${messageOf(error)}\n`);
    return 1;
  }
}

async function copy(argv: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...argv], options: OPTIONS });
  const digestFile = given(values.digest, 'digest');
  const digest = new ContentDigest();
  const source = await Source.open(given(values.source, 'source'));
  const diskBytes = source.size;
  // Whole clusters of the target, so that its file holds only data that this program has sent.
  const extents = wholeGrains(parseExtentList(readFileSync(given(values.extents, 'extents'), 'utf8')), CONTENT_GRAIN, diskBytes);
  const progress = new Progress(values.progress === undefined ? null : Number(values.progress), extents, diskBytes);
  const patienceMs = Number(given(values['patience-seconds'], 'patience-seconds')) * 1000;
  const ends: CopyEnds = {
    readSource: (offset, into) => source.read(offset, into),
    openTarget: openerOf(given(values.target, 'target'), diskBytes),
    isAnswer: (error) => error instanceof NbdReplyError && error.errorName !== 'ESHUTDOWN',
    rate: values['rate-file'] === undefined ? () => null : rateOf(values['rate-file']),
    onRead: (writes) => addTo(digest, writes),
    onProgress: (bytes) => progress.moved(bytes),
  };
  await new NetworkCopy(ends, {
    extents,
    zeroes: given(values.onto, 'onto') === 'parent' ? 'write' : 'skip',
    connections: Number(given(values.connections, 'connections')),
    requestBytes: REQUEST_BYTES,
    memoryBytes: Number(given(values['memory-bytes'], 'memory-bytes')),
    patienceMs,
    silenceMs: Number(values['silence-seconds']) * 1000,
    attemptMs: Math.min(TARGET_ATTEMPT_MS, patienceMs),
  }).run();
  progress.tell();
  source.close();
  writeFileSync(digestFile, JSON.stringify(digest.result), { mode: 0o600 });
}

function addTo(digest: ContentDigest, writes: readonly TargetWrite[]): void {
  for (const { offset, bytes, zero } of writes) {
    for (const run of piecesOf([{ offset, length: bytes.length }], CONTENT_BLOCK)) {
      if (zero) digest.addZeroes(run.offset, run.length);
      else digest.addData(run.offset, [bytes.subarray(run.offset - offset, run.offset - offset + run.length)]);
    }
  }
}

/** @throws Error for a command line that networkCopy does not build */
function given(value: string | undefined, name: string): string {
  if (value === undefined) throw new Error(`--${name} is missing`);
  return value;
}

function openerOf(uri: string, diskBytes: number): CopyEnds['openTarget'] {
  const { address, exportName } = parseNbdAddress(uri);
  return async (signal): Promise<TargetConnection> => {
    const connection = await NbdConnection.open(address, exportName, signal);
    if (connection.size < diskBytes) throw new CopyFailedError(`the target has ${connection.size} bytes, and the source ${diskBytes}`);
    if (connection.readOnly) throw new CopyFailedError('writing to the target: it is read-only');
    return connection.canWriteZeroes ? connection : withoutZeroes(connection);
  };
}

/** For a server that supports no command to write zeroes. */
function withoutZeroes(connection: NbdConnection): TargetConnection {
  return {
    write: (offset, bytes) => connection.write(offset, bytes),
    writeZeroes: (offset, length) => connection.write(offset, Buffer.alloc(length)),
    get heardAtMs() {
      return connection.heardAtMs;
    },
    ended: connection.ended,
    close: () => connection.close(),
    destroy: () => connection.destroy(),
  };
}

/** The source of the copy: a server on this machine, so that losing it is final. */
class Source {
  private constructor(private readonly connections: readonly [NbdConnection, ...NbdConnection[]]) {}

  static async open(uri: string): Promise<Source> {
    const { address, exportName } = parseNbdAddress(uri);
    const open = async (): Promise<NbdConnection> => {
      try {
        return await NbdConnection.open(address, exportName, AbortSignal.timeout(SOURCE_ATTEMPT_MS));
      } catch (error) {
        throw new CopyFailedError(`connecting to the source: ${messageOf(error)}`, { cause: error });
      }
    };
    const first = await open();
    return new Source([first, ...(await Promise.all(Array.from({ length: SOURCE_CONNECTIONS - 1 }, open)))]);
  }

  get size(): number {
    return this.connections[0].size;
  }

  async read(offset: number, into: Buffer): Promise<void> {
    const idlest = this.connections.reduce((best, one) => (one.underWay < best.underWay ? one : best));
    try {
      await idlest.read(offset, into);
    } catch (error) {
      throw new CopyFailedError(`reading from the source at offset ${offset}: ${messageOf(error)}`, { cause: error });
    }
  }

  close(): void {
    for (const connection of this.connections) connection.close();
  }
}

/**
 * Reads the rate from a file that may change, in bits per second. An unreadable file leaves the rate unchanged. @throws Error if the file is missing at first
 */
function rateOf(file: string): () => number {
  const read = (): number => Number(readFileSync(file, 'utf8')) / BITS;
  let rate = read();
  let readMs = performance.now();
  return () => {
    const now = performance.now();
    if (now - readMs < RATE_FILE_MS) return rate;
    readMs = now;
    try {
      rate = read() || rate;
    } catch {
      // It is being replaced, or the job is ending.
    }
    return rate;
  };
}

/** Writes lines `(12.34/100%)` to a file descriptor: the position on the disk of a copy from beginning to end. */
class Progress {
  private bytes = 0;
  private toldMs = 0;

  /** @param descriptor null: no reports */
  constructor(
    private readonly descriptor: number | null,
    private readonly extents: readonly Extent[],
    private readonly diskBytes: number,
  ) {}

  moved(bytes: number): void {
    this.bytes = bytes;
    const now = performance.now();
    if (now - this.toldMs < PROGRESS_MS) return;
    this.toldMs = now;
    this.tell();
  }

  tell(): void {
    if (this.descriptor === null) return;
    // Rounded down, so as never to report data that is not on the target.
    const percent = Math.floor((positionOf(this.extents, this.bytes) * 1e6) / this.diskBytes) / 1e4;
    try {
      writeSync(this.descriptor, `(${percent}/100%)\n`);
    } catch {
      // A full disk must not end a copy that needs no space there.
    }
  }
}
