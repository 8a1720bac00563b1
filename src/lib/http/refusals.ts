import { type OnApplicationShutdown } from '@nestjs/common';
import type { Counter } from 'prom-client';
import type { Clock } from '../clock/clock.js';
import { loggerFor } from '../logging/logger.js';
import type { MetricsRegistry } from './metrics-registry.js';

export interface Refusal {
  /** null: the client has disconnected. */
  readonly sourceAddress: string | null;
  readonly code: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
}

/** Refusals of one source since its previous report. */
export interface RefusalReport {
  /** `others`: all sources beyond those counted individually. */
  readonly source_address: string;
  readonly refused: number;
  /** Of the last refusal, like method and path. */
  readonly code: string;
  readonly method: string;
  readonly path: string;
  readonly first_at: string;
  readonly last_at: string;
}

interface Source {
  /** Not reported yet; `report` holds the last one. */
  pending: RefusalReport | null;
  reportedMs: number;
  /** Consecutive wrong tokens; forgotten with the source. */
  guesses: number;
  seenMs: number;
}

const REPORT_EVERY_MS = 60_000;
const FORGET_AFTER_MS = 600_000;
const MAX_SOURCES = 100;
const OTHERS = 'others';
/** Codes that indicate guessing at a secret; the others tell an authentic caller what is wrong. */
const GUESSES: ReadonlySet<string> = new Set(['token_invalid', 'signature_invalid']);
/** A mistyped token, or a client that does not have the new token yet, is not slowed down. */
const FREE_GUESSES = 10;
const FIRST_DELAY_MS = 100;
/** Concurrently delayed refusals. Further ones are answered without delay, because waiting holds connections. */
const MAX_DELAYED = 32;
const MAX_PATH = 200;

/**
 * Refused requests: logged and reported once a minute per source, counted, and slowed down when they guess. Only the refusal itself waits, so other clients at
 * the guesser's address (nodes behind one NAT, everyone on loopback) are served normally. Memory is bounded under any load.
 */
export class Refusals implements OnApplicationShutdown {
  private readonly log = loggerFor('Refusals');
  private readonly sources = new Map<string, Source>();
  private readonly listeners = new Set<(report: RefusalReport) => void>();
  private readonly counter: Counter<'code'>;
  private readonly timer: NodeJS.Timeout;
  private delayed = 0;

  /** @param maxDelayMs 0: no delay */
  constructor(
    registry: MetricsRegistry,
    private readonly clock: Clock,
    private readonly maxDelayMs: () => number,
  ) {
    this.counter = registry.counter({
      name: 'sendense_http_refusals_total',
      help: 'Requests that failed authentication or authorization, by code',
      labels: ['code'],
    });
    this.timer = setInterval(() => this.reportPending(), REPORT_EVERY_MS).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  onReport(listener: (report: RefusalReport) => void): void {
    this.listeners.add(listener);
  }

  /** Resolves when the refusal may be sent. */
  async refused(refusal: Refusal): Promise<void> {
    this.counter.inc({ code: refusal.code });
    const nowMs = this.clock.now().getTime();
    const [address, source] = this.sourceOf(refusal.sourceAddress, nowMs);
    const now = new Date(nowMs).toISOString();
    source.seenMs = nowMs;
    source.pending = {
      source_address: address,
      refused: (source.pending?.refused ?? 0) + 1,
      code: refusal.code,
      method: refusal.method,
      path: refusal.path.toWellFormed().slice(0, MAX_PATH),
      first_at: source.pending?.first_at ?? now,
      last_at: now,
    };
    if (nowMs - source.reportedMs >= REPORT_EVERY_MS) this.report(source, nowMs);
    if (GUESSES.has(refusal.code)) await this.slowDown(++source.guesses);
  }

  /** Reports refusals collected over the last minute, and forgets sources that have been quiet for long. */
  reportPending(): void {
    const nowMs = this.clock.now().getTime();
    for (const [address, source] of this.sources) {
      if (source.pending !== null && nowMs - source.reportedMs >= REPORT_EVERY_MS) this.report(source, nowMs);
      if (nowMs - source.seenMs > FORGET_AFTER_MS) this.sources.delete(address);
    }
  }

  private sourceOf(sourceAddress: string | null, nowMs: number): readonly [string, Source] {
    const own = sourceAddress ?? 'unknown';
    const address = this.sources.has(own) || this.sources.size < MAX_SOURCES ? own : OTHERS;
    const known = this.sources.get(address);
    if (known !== undefined) return [address, known];
    const source: Source = { pending: null, reportedMs: Number.NEGATIVE_INFINITY, guesses: 0, seenMs: nowMs };
    this.sources.set(address, source);
    return [address, source];
  }

  private report(source: Source, nowMs: number): void {
    const report = source.pending;
    if (report === null) return;
    source.pending = null;
    source.reportedMs = nowMs;
    this.log.warn('requests refused', { ...report });
    for (const listener of this.listeners) listener(report);
  }

  private async slowDown(guesses: number): Promise<void> {
    const steps = guesses - FREE_GUESSES;
    const delayMs = steps <= 0 ? 0 : Math.min(this.maxDelayMs(), FIRST_DELAY_MS * 2 ** Math.min(steps - 1, 20));
    if (delayMs === 0 || this.delayed >= MAX_DELAYED) return;
    this.delayed += 1;
    try {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    } finally {
      this.delayed -= 1;
    }
  }
}
