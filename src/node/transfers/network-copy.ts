import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../kernel/error-message.js';
import { type Extent, totalBytes } from '../model/extents.plan.js';
import { BufferPool } from './buffer-pool.js';
import { BytesUnderWay, giveUpSilent, piecesOf, RateBucket, type TargetWrite, writesOf } from './network-copy.plan.js';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
/** A connection for less than that would cost more than it gains. */
const BYTES_FOR_A_CONNECTION = 1024 * 1024;

/** A connection to the target. What it rejects with is the target's answer, unless it has ended. */
export interface TargetConnection {
  write(offset: number, bytes: Buffer): Promise<void>;
  writeZeroes(offset: number, length: number): Promise<void>;
  /** performance.now() when something arrived last. */
  readonly heardAtMs: number;
  /** Resolves with the reason when it has ended. */
  readonly ended: Promise<Error>;
  close(): void;
  destroy(): void;
}

export interface CopyEnds {
  /** Fills the buffer. @throws Error in words for people */
  readSource(offset: number, into: Buffer): Promise<void>;
  /** @throws CopyFailedError where trying again is of no use */
  openTarget(signal: AbortSignal): Promise<TargetConnection>;
  /** Whether a request was rejected by the target itself, and not because its connection has ended. */
  isAnswer(error: unknown): boolean;
  /** Bytes a second; null: no limit. */
  rate(): number | null;
  /** Called once for each piece that was read, before anything of it is sent. */
  onRead(writes: readonly TargetWrite[]): void;
  /** @param bytes of the extents that are on the target */
  onProgress(bytes: number): void;
}

export interface CopyOptions {
  /** Sorted, neighbours joined. */
  readonly extents: readonly Extent[];
  /** See writesOf. */
  readonly zeroes: 'skip' | 'write';
  /** To the target. */
  readonly connections: number;
  /** A power of two. */
  readonly requestBytes: number;
  /** Read, and not yet answered by the target. */
  readonly memoryBytes: number;
  /** For a target that cannot be reached, counted from the last sign of life. */
  readonly patienceMs: number;
  /** A connection that is silent for so long is looked into. */
  readonly silenceMs: number;
  /** For one attempt to connect. */
  readonly attemptMs: number;
}

/** Why a copy ended, in words for people. */
export class CopyFailedError extends Error {
  override readonly name = 'CopyFailedError';
}

interface Piece {
  readonly length: number;
  readonly buffer: Buffer;
  /** Writes without an answer. */
  left: number;
}

interface Write extends TargetWrite {
  readonly piece: Piece;
}

interface Link {
  connection: TargetConnection | null;
  /** With performance.now() of their sending, the oldest first. */
  readonly unanswered: Map<Write, number>;
  bytes: number;
  /** Gets nothing more to carry: it was silent for too long, or all were. Until it answers or is connected anew, or, where it has nothing to answer, another one answers. */
  doubted: boolean;
}

/**
 * Copies extents to a target behind a network: reads ahead, has requests under way on several connections, and sends whatever a connection has not answered before it ended again over
 * another. What was answered is never sent again.
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
  /** The sending of the latest write that was answered. */
  private answeredSentMs = 0;
  private triedAnother = false;
  private looking = false;
  /** Connections that have ended with something unanswered, since the latest answer. */
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

  /** Resolves when all is on the target. @throws CopyFailedError */
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

  /** Hands what waits to the connections that have the least under way. */
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
    // It has ended, also where that is not told yet: what is sent again must not go there.
    if (link.connection === connection) link.connection = null;
    this.waiting.unshift(write);
    this.onBroken(connection, error);
    this.send();
  }

  private forget(link: Link, write: Write): void {
    link.unanswered.delete(write);
    link.bytes -= write.bytes.length;
  }

  /** Has the link connected, again and again, until the copy is over. */
  private async keepUp(link: Link): Promise<void> {
    const { signal } = this.over;
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

  /** Somebody who alters what passes breaks every connection, and each of them stands at first. Those that one loss of the network ends are no sign of that. */
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

  /** What the connection that is given up has carried is for a new one alone, and not for others that may be half-open too. */
  private tryAnother(): void {
    this.triedAnother = true;
    for (const link of this.links) link.doubted = true;
  }

  private trustIdleLinks(): void {
    this.triedAnother = false;
    for (const link of this.links) if (link.bytes === 0) link.doubted = false;
  }

  /** The longest silence first. */
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
