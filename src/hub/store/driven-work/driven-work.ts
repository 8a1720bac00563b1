import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../../lib/logging/logger.js';

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

export interface DrivenKind {
  /** What one of them is, for the log: "restore job". */
  readonly what: string;
  /**
   * Looks at what is recorded and does what comes next; it may run twice. `stopped` is aborted by `stop` and at shutdown.
   * @returns true when nothing is left to do
   */
  readonly step: (id: string, stopped: AbortSignal) => Promise<boolean>;
  /** Ids of what an earlier hub has left unfinished. */
  readonly unfinished: () => Promise<readonly string[]>;
}

/**
 * Brings many things forward at once, each by one step after the other until it is through. A step that throws is tried again, ever more slowly. What it remembers is only what can
 * be read again: at start it takes up what an earlier hub has left.
 */
export class DrivenWork {
  private readonly driven = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>();
  private readonly shutdown = new AbortController();
  private recovery: Promise<void> = Promise.resolve();

  constructor(
    private readonly kind: DrivenKind,
    private readonly log: Logger,
  ) {}

  /** Aborted once the hub shuts down. */
  get ending(): AbortSignal {
    return this.shutdown.signal;
  }

  isEnding(): boolean {
    return this.shutdown.signal.aborted;
  }

  /** ready: from when on new ones are told of by `drive`. */
  start(ready: Promise<void>): void {
    this.recovery = this.recover(ready);
  }

  /** Begins with one, unless that is being driven already. */
  drive(id: string): void {
    if (this.driven.has(id) || this.isEnding()) return;
    const stop = new AbortController();
    const done = this.run(id, AbortSignal.any([stop.signal, this.ending])).finally(() => this.driven.delete(id));
    this.driven.set(id, { stop, done });
  }

  /** Interrupts the step that one is in; the next one sees what is recorded by then. */
  stop(id: string, reason: string): void {
    this.driven.get(id)?.stop.abort(new Error(reason));
  }

  /** Ends all of it where it is; resolves when nothing runs any more. */
  async end(): Promise<void> {
    this.shutdown.abort(new Error('the hub is shutting down'));
    await this.recovery;
    await Promise.all([...this.driven.values()].map(({ done }) => done));
  }

  private async run(id: string, stopped: AbortSignal): Promise<void> {
    let retryMs = RETRY_FIRST_MS;
    while (!this.isEnding()) {
      try {
        if (await this.kind.step(id, stopped)) return;
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (this.isEnding()) return;
        this.log.warn(`a ${this.kind.what} could not be brought forward; trying again`, { id, error });
        await pause(retryMs, undefined, { signal: this.ending }).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      }
    }
  }

  private async recover(ready: Promise<void>): Promise<void> {
    await ready;
    while (!this.isEnding()) {
      try {
        for (const id of await this.kind.unfinished()) this.drive(id);
        return;
      } catch (error) {
        this.log.warn(`what an earlier run of the hub has left of each ${this.kind.what} cannot be taken up yet; trying again`, { error });
        await pause(RETRY_FIRST_MS, undefined, { signal: this.ending }).catch(() => undefined);
      }
    }
  }
}
