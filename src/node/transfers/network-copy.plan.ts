import { CONTENT_GRAIN } from '../../contract/node-api.js';
import type { Extent } from '../model/extents.plan.js';

const ZEROES = Buffer.alloc(CONTENT_GRAIN);

/** Answers that take longer than that, in milliseconds, mean that more is under way than the network or the target's disk takes. */
const SLOW_ANSWER_MS = 3_000;
const QUICK_ANSWER_MS = 1_000;
const FIRST_BYTES_UNDER_WAY = 4 * 1024 * 1024;
const LEAST_BYTES_UNDER_WAY = 1024 * 1024;

/** Credit of a rate that was not used is kept for so long. */
const BURST_S = 0.1;
/** So long at most until the rate is asked for again: it may have been raised. */
const LONGEST_RATE_WAIT_MS = 250;

/** The extents cut into requests: at multiples of the size, so that they fit the target's clusters. @param extents sorted, neighbours joined @param maxBytes a power of two */
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
  /** All of it. */
  readonly zero: boolean;
}

/**
 * What to write of a piece that was read: runs of data and of zeroes, each as long as it can be.
 * @param zeroes `skip` where the target is a new file, which reads as zeroes already; `write` where a parent would show through
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

/** Where on the disk a copy is that has moved so many bytes of the extents, if it went from its beginning to its end. */
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
 * How many bytes may be without an answer at once: what fills the way, found out by how soon answers come. More would gain nothing, would have to be sent again when the connections break,
 * and would make a slow line look like a dead one.
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

/** Keeps what is sent to a rate that may change at any time. */
export class RateBucket {
  /** Bytes that may be sent; below zero when more was sent already. */
  private credit = 0;
  private lastMs: number | null = null;

  /** @returns milliseconds until the next may be sent, or until the rate is to be asked for again; 0: now */
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

/** A connection that has something under way and has been silent for too long. */
export interface SilentConnection {
  /** The server could be reached over a new connection just now. */
  readonly serverAnswers: boolean;
  /** Something that was asked later over another connection was answered. */
  readonly overtaken: boolean;
  /** Since the last answer of all one connection was given up already to find out whether a new one does better. */
  readonly triedAnother: boolean;
}

/**
 * Gives up what is dead and waits for what is slow. A server that cannot be reached: the network is down. One that answers others: the connection is half-open. One that takes a connection
 * and answers nobody may have a slow disk, or all connections may be half-open: one is replaced, and if the new one gets no answer either it is the disk, for which there is no limit.
 */
export function giveUpSilent({ serverAnswers, overtaken, triedAnother }: SilentConnection): boolean {
  return !serverAnswers || overtaken || !triedAnother;
}
