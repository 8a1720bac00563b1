import { CONTENT_GRAIN } from '../../contract/content-digest.js';
import type { Extent } from '../model/extents.plan.js';

const ZEROES = Buffer.alloc(CONTENT_GRAIN);

/** Answers slower than this, in milliseconds, mean that more is in flight than the network or the target's disk can handle. */
const SLOW_ANSWER_MS = 3_000;
const QUICK_ANSWER_MS = 1_000;
const FIRST_BYTES_UNDER_WAY = 4 * 1024 * 1024;
const LEAST_BYTES_UNDER_WAY = 1024 * 1024;

/** How long unused credit of a rate is kept. */
const BURST_S = 0.1;
/** The rate may be raised during a wait, so it is read again at this interval. */
const LONGEST_RATE_WAIT_MS = 250;

/**
 * Cuts the extents into requests, at multiples of the size so that they align with the target's clusters. @param extents sorted, neighbours joined @param
 * maxBytes a power of two
 */
export function* piecesOf(extents: readonly Extent[], maxBytes: number): Generator<Extent, void> {
  for (const extent of extents) {
    const end = extent.offset + extent.length;
    for (let offset = extent.offset; offset < end;) {
      const next = Math.min(end, (Math.floor(offset / maxBytes) + 1) * maxBytes);
      yield { offset, length: next - offset };
      offset = next;
    }
  }
}

/** A request to the target. */
export interface TargetWrite {
  readonly offset: number;
  readonly bytes: Buffer;
  /** All bytes of the range are zero. */
  readonly zero: boolean;
}

/**
 * Splits a piece into its writes: runs of data and of zeroes, each as long as possible.
 * @param zeroes `skip` if the target is a new file, which already reads as zeroes; `write` if a parent would show through
 */
export function writesOf(offset: number, bytes: Buffer, zeroes: 'skip' | 'write'): readonly TargetWrite[] {
  const writes: TargetWrite[] = [];
  let begin = 0;
  let zero: boolean | null = null;
  const close = (end: number): void => {
    if (zero !== null && !(zero && zeroes === 'skip')) writes.push({ offset: offset + begin, bytes: bytes.subarray(begin, end), zero });
    begin = end;
  };
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + CONTENT_GRAIN - ((offset + at) % CONTENT_GRAIN));
    const blockIsZero = bytes.compare(ZEROES, 0, end - at, at, end) === 0;
    if (blockIsZero !== zero) {
      close(at);
      zero = blockIsZero;
    }
    at = end;
  }
  close(bytes.length);
  return writes;
}

/** The position on the disk at which a copy from beginning to end would be after this many bytes of the extents. */
export function positionOf(extents: readonly Extent[], bytes: number): number {
  let left = bytes;
  for (const { offset, length } of extents) {
    if (left < length) return offset + left;
    left -= length;
  }
  const last = extents.at(-1);
  return last === undefined ? 0 : last.offset + last.length;
}

/**
 * Limits the unanswered bytes to the amount that fills the route, estimated from how quickly answers come. More would gain nothing, would have to be sent again
 * when connections break, and would make a slow line look dead.
 */
export class BytesUnderWay {
  private limit: number;

  constructor(private readonly most: number) {
    this.limit = Math.min(most, FIRST_BYTES_UNDER_WAY);
  }

  get allowed(): number {
    return this.limit;
  }

  onAnswer(bytes: number, tookMs: number): void {
    if (tookMs < QUICK_ANSWER_MS) this.limit = Math.min(this.most, this.limit + bytes);
    else if (tookMs > SLOW_ANSWER_MS) this.limit = Math.max(Math.min(this.most, LEAST_BYTES_UNDER_WAY), this.limit - bytes);
  }
}

/** Limits sending to a rate that may change at any time. */
export class RateBucket {
  /** Bytes that may be sent; negative if too much was sent already. */
  private credit = 0;
  private lastMs: number | null = null;

  /** @returns milliseconds until more may be sent, or until the rate must be read again; 0: now */
  waitMs(nowMs: number, bytesPerSecond: number): number {
    const elapsedS = this.lastMs === null ? 0 : (nowMs - this.lastMs) / 1000;
    this.lastMs = nowMs;
    this.credit = Math.min(bytesPerSecond * BURST_S, this.credit + elapsedS * bytesPerSecond);
    return this.credit >= 0 ? 0 : Math.min(LONGEST_RATE_WAIT_MS, Math.ceil((-this.credit * 1000) / bytesPerSecond));
  }

  spend(bytes: number): void {
    this.credit -= bytes;
  }
}

/** A connection with requests in progress that has been silent for too long. */
export interface SilentConnection {
  /** A new connection to the server was just successful. */
  readonly serverAnswers: boolean;
  /** A later request on another connection was answered. */
  readonly overtaken: boolean;
  /** Since the last answer on any connection, one was already given up to test whether a new one does better. */
  readonly triedAnother: boolean;
}

/**
 * Gives up dead connections and waits for slow ones. The server is unreachable: the network is down. It answers on other connections: this one is half-open. It
 * accepts connections but answers on none: its disk may be slow, or all connections may be half-open. Then one is replaced, and if the new one gets no answer
 * either, the disk is slow, which has no time limit.
 */
export function giveUpSilent({ serverAnswers, overtaken, triedAnother }: SilentConnection): boolean {
  return !serverAnswers || overtaken || !triedAnother;
}
