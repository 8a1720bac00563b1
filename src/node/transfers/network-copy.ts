import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../kernel/error-message.js';
import { type Extent, totalBytes } from '../model/extents.plan.js';
import { BufferPool } from './buffer-pool.js';
import { BytesUnderWay, giveUpSilent, piecesOf, RateBucket, type TargetWrite, writesOf } from './network-copy.plan.js';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
/** A connection for fewer bytes would cost more than it gains. */
const BYTES_FOR_A_CONNECTION = 1024 * 1024;

/** A connection to the target. It rejects with the target's answer, unless it has ended. */
export interface TargetConnection {
  write(offset: number, bytes: Buffer): Promise<void>;
  writeZeroes(offset: number, length: number): Promise<void>;
  /** performance.now() of the last received data. */
  readonly heardAtMs: number;
  /** Resolves with the reason when it has ended. */
  readonly ended: Promise<Error>;
  close(): void;
  destroy(): void;
}

export interface CopyEnds {
  /** Fills the buffer. @throws Error with a message for people */
  readSource(offset: number, into: Buffer): Promise<void>;
  /** @throws CopyFailedError if retrying is futile */
  openTarget(signal: AbortSignal): Promise<TargetConnection>;
  /** Whether the target itself rejected a request, as opposed to its connection having ended. */
  isAnswer(error: unknown): boolean;
  /** Bytes per second; null: no limit. */
  rate(): number | null;
  /** Called once for each piece, after it was read and before any of it is sent. */
  onRead(writes: readonly TargetWrite[]): void;
  /** @param bytes of the extents that have arrived on the target */
  onProgress(bytes: number): void;
}

export interface CopyOptions {
  /** Sorted, neighbours joined. */
  readonly extents: readonly Extent[];
  /** See writesOf. */
  readonly zeroes: 'skip' | 'write';
  /** Connections to the target. */
  readonly connections: number;
  /** A power of two. */
  readonly requestBytes: number;
  /** Limit of bytes that were read but not yet answered by the target. */
  readonly memoryBytes: number;
  /** For an unreachable target, counted from the last sign of life. */
  readonly patienceMs: number;
  /** A connection that is silent for this long is probed. */
  readonly silenceMs: number;
  /** Time limit for one connection attempt. */
  readonly attemptMs: number;
}

/** Why a copy ended, as a message for people. */
export class CopyFailedError extends Error {
  override readonly name = 'CopyFailedError';
}

interface Piece {
  readonly length: number;
  readonly buffer: Buffer;
  /** Unanswered writes. */
  left: number;
}

interface Write extends TargetWrite {
  readonly piece: Piece;
}

interface Link {
  connection: TargetConnection | null;
  /** With the performance.now() of their sending, oldest first. */
  readonly unanswered: Map<Write, number>;
  bytes: number;
  /**
   * Gets no further requests, because it, or every connection, was silent for too long. Lasts until it answers or is reconnected or, if it has nothing to
   * answer, until another one answers.
   */
  doubted: boolean;
}

/**
 * Copies extents to a target across a network: reads ahead, keeps requests in progress on several connections, and repeats those that were unanswered when a
 * connection ended on another one. Answered data is never sent again.
 */
export class NetworkCopy {
  private readonly pieces: Generator<Extent, void>;
  private next: Extent | null;
  private readonly pool: BufferPool;
  private readonly total: number;
  private done = 0;
  private readonly waiting: Write[] = [];
  private readonly links: readonly Link[];
  private readonly underWay: BytesUnderWay;
  private readonly bucket = new RateBucket();
  private rateTimer: NodeJS.Timeout | null = null;
  private signOfLifeMs = performance.now();
  /** Send time of the latest answered write. */
  private answeredSentMs = 0;
  private triedAnother = false;
  private looking = false;
  /** Connections that ended with unanswered requests since the latest answer. */
  private readonly broken = new Set<TargetConnection>();
  private readonly over = new AbortController();
  private readonly outcome = Promise.withResolvers<undefined>();

  constructor(
    private readonly ends: CopyEnds,
    private readonly options: CopyOptions,
  ) {
    this.total = totalBytes(options.extents);
    this.pieces = piecesOf(options.extents, options.requestBytes);
    this.next = this.pieces.next().value ?? null;
    this.pool = new BufferPool(options.memoryBytes);
    this.underWay = new BytesUnderWay(options.memoryBytes);
    const connections = Math.min(options.connections, Math.max(1, Math.ceil(this.total / BYTES_FOR_A_CONNECTION)));
    this.links = Array.from({ length: connections }, () => ({ connection: null, unanswered: new Map(), bytes: 0, doubted: false }));
  }

  /** Resolves when everything is on the target. @throws CopyFailedError */
  async run(): Promise<void> {
    const watch = setInterval(() => void this.lookIntoSilence(), Math.min(1_000, this.options.silenceMs / 2));
    try {
      if (this.next === null) return;
      for (const link of this.links) void this.keepUp(link);
      this.readAhead();
      await this.outcome.promise;
    } finally {
      this.over.abort();
      clearInterval(watch);
      if (this.rateTimer !== null) clearTimeout(this.rateTimer);
      for (const { connection } of this.links) connection?.close();
    }
  }

  private readAhead(): void {
    while (this.next !== null && !this.over.signal.aborted) {
      const buffer = this.pool.take(this.next.length);
      if (buffer === null) return;
      const { offset, length } = this.next;
      this.next = this.pieces.next().value ?? null;
      const bytes = buffer.subarray(0, length);
      this.ends.readSource(offset, bytes).then(
        () => this.onRead(offset, bytes, buffer),
        (error: unknown) => this.fail(error),
      );
    }
  }

  private onRead(offset: number, bytes: Buffer, buffer: Buffer): void {
    const writes = writesOf(offset, bytes, this.options.zeroes);
    this.ends.onRead(writes);
    const piece: Piece = { length: bytes.length, buffer, left: writes.length };
    for (const write of writes) this.waiting.push({ ...write, piece });
    if (writes.length === 0) this.onPieceDone(piece);
    this.send();
  }

  private onPieceDone(piece: Piece): void {
    this.pool.give(piece.buffer);
    this.done += piece.length;
    this.ends.onProgress(this.done);
    if (this.done === this.total) this.outcome.resolve(undefined);
    else this.readAhead();
  }

  /** Assigns waiting writes to the connections with the fewest bytes in progress. */
  private send(): void {
    while (this.waiting.length > 0 && !this.over.signal.aborted) {
      const link = this.freeLink();
      if (link === null || this.heldBack()) return;
      const write = this.waiting.shift();
      if (write !== undefined) this.sendOver(link.link, link.connection, write);
    }
  }

  private freeLink(): { readonly link: Link; readonly connection: TargetConnection } | null {
    let free: { readonly link: Link; readonly connection: TargetConnection } | null = null;
    let sum = 0;
    for (const link of this.links) {
      sum += link.bytes;
      if (link.connection !== null && !link.doubted && (free === null || link.bytes < free.link.bytes)) free = { link, connection: link.connection };
    }
    return sum < this.underWay.allowed ? free : null;
  }

  private heldBack(): boolean {
    const rate = this.ends.rate();
    if (rate === null) return false;
    const waitMs = this.bucket.waitMs(performance.now(), rate);
    if (waitMs === 0) return false;
    this.rateTimer ??= setTimeout(() => {
      this.rateTimer = null;
      this.send();
    }, waitMs);
    return true;
  }

  private sendOver(link: Link, connection: TargetConnection, write: Write): void {
    const { offset, bytes, zero } = write;
    const sentMs = performance.now();
    link.unanswered.set(write, sentMs);
    link.bytes += bytes.length;
    if (!zero) this.bucket.spend(bytes.length);
    const answer = zero ? connection.writeZeroes(offset, bytes.length) : connection.write(offset, bytes);
    answer.then(
      () => this.onAnswer(link, write, sentMs),
      (error: unknown) => this.onNoAnswer(link, connection, write, error),
    );
  }

  private onAnswer(link: Link, write: Write, sentMs: number): void {
    this.forget(link, write);
    const now = performance.now();
    this.underWay.onAnswer(write.bytes.length, now - sentMs);
    this.signOfLifeMs = now;
    this.broken.clear();
    this.answeredSentMs = Math.max(this.answeredSentMs, sentMs);
    link.doubted = false;
    if (this.triedAnother) this.trustIdleLinks();
    write.piece.left -= 1;
    if (write.piece.left === 0) this.onPieceDone(write.piece);
    this.send();
  }

  private onNoAnswer(link: Link, connection: TargetConnection, write: Write, error: unknown): void {
    this.forget(link, write);
    if (this.ends.isAnswer(error)) {
      this.fail(new CopyFailedError(`writing to the target at offset ${write.offset}: ${messageOf(error)}`, { cause: error }));
      return;
    }
    // The connection has ended, even if that is not reported yet; repeated requests must not go there.
    if (link.connection === connection) link.connection = null;
    this.waiting.unshift(write);
    this.onBroken(connection, error);
    this.send();
  }

  private forget(link: Link, write: Write): void {
    link.unanswered.delete(write);
    link.bytes -= write.bytes.length;
  }

  /** Connects the link, and reconnects it until the copy has ended. */
  private async keepUp(link: Link): Promise<void> {
    const { signal } = this.over;
    // oxlint-disable-next-line no-useless-assignment -- the pause below reads it
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
      try {
        const connection = await this.open();
        link.connection = connection;
        link.doubted = false;
        this.send();
        await connection.ended;
        link.connection = null;
        pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        this.onNotReached(error);
      }
      await pause(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async open(): Promise<TargetConnection> {
    const attempt = AbortSignal.any([this.over.signal, AbortSignal.timeout(this.options.attemptMs)]);
    const connection = await this.ends.openTarget(attempt);
    if (this.over.signal.aborted) connection.destroy();
    return connection;
  }

  /** Tampering in transit breaks every connection, though each is accepted at first. Connections lost in a single network failure do not indicate that. */
  private onBroken(connection: TargetConnection, error: unknown): void {
    this.broken.add(connection);
    const silentMs = performance.now() - this.signOfLifeMs;
    if (silentMs < this.options.patienceMs || this.broken.size <= this.links.length) return;
    this.fail(
      new CopyFailedError(`the target answered nothing for ${Math.round(silentMs / 1000)} s, and each connection to it broke: ${messageOf(error)}`, {
        cause: error,
      }),
    );
  }

  private onNotReached(error: unknown): void {
    const silentMs = performance.now() - this.signOfLifeMs;
    if (error instanceof CopyFailedError) this.fail(error);
    else if (silentMs >= this.options.patienceMs) {
      this.fail(new CopyFailedError(`the target could not be reached for ${Math.round(silentMs / 1000)} s: ${messageOf(error)}`, { cause: error }));
    }
  }

  private async lookIntoSilence(): Promise<void> {
    const silent = this.silentLinks();
    if (this.looking || silent.length === 0) return;
    this.looking = true;
    for (const { link } of silent) link.doubted = true;
    const serverAnswers = await this.open().then(
      (probe) => {
        probe.close();
        return true;
      },
      (error: unknown) => {
        this.onNotReached(error);
        return false;
      },
    );
    this.looking = false;
    if (serverAnswers) this.signOfLifeMs = performance.now();
    for (const { connection, oldestMs } of this.silentLinks()) {
      const overtaken = this.answeredSentMs > oldestMs;
      if (!giveUpSilent({ serverAnswers, overtaken, triedAnother: this.triedAnother })) continue;
      if (serverAnswers && !overtaken) this.tryAnother();
      connection.destroy();
    }
  }

  /** Only a new connection gets the requests of the one given up, because the others may be half-open too. */
  private tryAnother(): void {
    this.triedAnother = true;
    for (const link of this.links) link.doubted = true;
  }

  private trustIdleLinks(): void {
    this.triedAnother = false;
    for (const link of this.links) if (link.bytes === 0) link.doubted = false;
  }

  /** Longest silence first. */
  private silentLinks(): readonly { readonly link: Link; readonly connection: TargetConnection; readonly oldestMs: number }[] {
    const before = performance.now() - this.options.silenceMs;
    return this.links
      .flatMap((link) => {
        const { connection, unanswered } = link;
        const oldestMs = unanswered.values().next().value;
        return connection === null || oldestMs === undefined || Math.max(oldestMs, connection.heardAtMs) > before ? [] : [{ link, connection, oldestMs }];
      })
      .sort((left, right) => left.oldestMs - right.oldestMs);
  }

  private fail(error: unknown): void {
    this.outcome.reject(error);
  }
}
