import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../../lib/logging/logger.js';

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

export interface ReconcilerKind {
  /** Name of one item in the log, such as "restore job". */
  readonly what: string;
  /**
   * Reads the recorded state and does the next step; it may run twice. `stopped` is aborted by `stop` and at shutdown.
   * @returns true when nothing is left to do
   */
  readonly step: (id: string, stopped: AbortSignal) => Promise<boolean>;
  /** Ids of the items that an earlier hub left unfinished. */
  readonly unfinished: () => Promise<readonly string[]>;
}

/**
 * Runs many items concurrently, each step by step until it is done. A step that throws is retried with increasing delays. All state can be read again:
 * at start it resumes the items that an earlier hub left unfinished.
 */
export class Reconciler {
  private readonly driven = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>();
  private readonly shutdown = new AbortController();
  private recovery: Promise<void> = Promise.resolve();

  constructor(
    private readonly kind: ReconcilerKind,
    private readonly log: Logger,
  ) {}

  /** Aborted when the hub shuts down. */
  get ending(): AbortSignal {
    return this.shutdown.signal;
  }

  isStopping(): boolean {
    return this.shutdown.signal.aborted;
  }

  /** @param ready resolves once new items are reported through `drive` */
  start(ready: Promise<void>): void {
    this.recovery = this.recover(ready);
  }

  /** Starts an item, unless it is already running. */
  drive(id: string): void {
    if (this.driven.has(id) || this.isStopping()) return;
    const stop = new AbortController();
    const done = this.run(id, AbortSignal.any([stop.signal, this.ending])).finally(() => this.driven.delete(id));
    this.driven.set(id, { stop, done });
  }

  /** Interrupts the current step of an item; the next step sees the state recorded by then. */
  stop(id: string, reason: string): void {
    this.driven.get(id)?.stop.abort(new Error(reason));
  }

  /** Interrupts all items; resolves when nothing runs any more. */
  async end(): Promise<void> {
    this.shutdown.abort(new Error('the hub is shutting down'));
    await this.recovery;
    await Promise.all([...this.driven.values()].map(({ done }) => done));
  }

  private async run(id: string, stopped: AbortSignal): Promise<void> {
    let retryMs = RETRY_FIRST_MS;
    while (!this.isStopping()) {
      try {
        if (await this.kind.step(id, stopped)) return;
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (this.isStopping()) return;
        this.log.warn(`a ${this.kind.what} could not be continued; trying again`, { id, error });
        await pause(retryMs, undefined, { signal: this.ending }).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      }
    }
  }

  private async recover(ready: Promise<void>): Promise<void> {
    await ready;
    while (!this.isStopping()) {
      try {
        for (const id of await this.kind.unfinished()) this.drive(id);
        return;
      } catch (error) {
        this.log.warn(`could not look up unfinished work of the kind "${this.kind.what}"; trying again`, { error });
        await pause(RETRY_FIRST_MS, undefined, { signal: this.ending }).catch(() => undefined);
      }
    }
  }
}
