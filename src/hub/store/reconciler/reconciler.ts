import { retry } from '../../../lib/concurrency/retry.js';
import type { Logger } from '../../../lib/logging/logger.js';

const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 30_000;
const RECOVERY_RETRY_MS = 1_000;

export type StepOutcome =
  /** Something was recorded; the next step follows at once. */
  | 'progressed'
  /** Nothing to do until the next poke. */
  | 'waiting'
  /** Nothing to do until the next poke, or until this many milliseconds have passed. */
  | { readonly waitingMs: number }
  /** Try again after a growing pause, or at the next poke. */
  | 'retry'
  /** Nothing is left to do. */
  | 'done';

export interface ReconcilerKind {
  /** Name of one item in the log, such as "restore job". */
  readonly what: string;
  /** Reads the recorded state and does the next step; it may run twice. `stopped` is aborted by `stop` and at shutdown. */
  readonly step: (id: string, stopped: AbortSignal) => Promise<StepOutcome>;
  /** Ids of the items that an earlier hub left unfinished. */
  readonly unfinished: () => Promise<readonly string[]>;
}

interface Item {
  readonly stop: AbortController;
  readonly done: Promise<void>;
  /** How often it was poked. */
  pokes: number;
  /** Ends the item's pause. */
  wake: () => void;
}

/**
 * Runs many items concurrently, each step by step until it is done. A poke during a step causes another one; a step that throws is retried with increasing
 * delays. All state can be read again: at start it resumes the items that an earlier hub left unfinished.
 */
export class Reconciler {
  private readonly items = new Map<string, Item>();
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

  /** @param ready resolves once new items are reported through `poke` */
  start(ready: Promise<void>): void {
    this.recovery = this.recover(ready);
  }

  /** Starts an item, or makes a running one look again. */
  poke(id: string): void {
    if (this.isStopping() || this.wake(id)) return;
    const stop = new AbortController();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const item: Item = { stop, done: promise, pokes: 0, wake: () => undefined };
    this.items.set(id, item);
    void this.run(id, item).then(() => resolve(undefined));
  }

  /** Makes an item look again if it is running. @returns whether it is */
  wake(id: string): boolean {
    const item = this.items.get(id);
    if (item === undefined) return false;
    item.pokes += 1;
    item.wake();
    return true;
  }

  /** Interrupts the current step of an item; the next step sees the state recorded by then. */
  stop(id: string, reason: string): void {
    this.items.get(id)?.stop.abort(new Error(reason));
    this.wake(id);
  }

  /** Interrupts all items; resolves when nothing runs any more. */
  async end(): Promise<void> {
    this.shutdown.abort(new Error('the hub is shutting down'));
    await this.recovery;
    for (const id of this.items.keys()) this.wake(id);
    await Promise.all([...this.items.values()].map(({ done }) => done));
  }

  private async run(id: string, item: Item): Promise<void> {
    const stopped = AbortSignal.any([item.stop.signal, this.ending]);
    let retryMs = RETRY_FIRST_MS;
    while (!this.isStopping()) {
      const { pokes } = item;
      const outcome = await this.step(id, stopped);
      if (outcome === 'progressed') retryMs = RETRY_FIRST_MS;
      if (outcome === 'progressed' || item.pokes !== pokes) continue;
      if (outcome === 'done') break;
      await this.rest(item, outcome === 'waiting' ? null : outcome === 'retry' ? retryMs : outcome.waitingMs);
      if (outcome === 'retry') retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
    this.items.delete(id);
  }

  private async step(id: string, stopped: AbortSignal): Promise<StepOutcome> {
    try {
      return await this.kind.step(id, stopped);
    } catch (error) {
      if (!this.isStopping()) this.log.warn(`a ${this.kind.what} could not be continued; trying again`, { id, error });
      return 'retry';
    }
  }

  /** Until the item is poked or the time is up; null: no time. */
  private async rest(item: Item, ms: number | null): Promise<void> {
    if (this.isStopping()) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    item.wake = () => resolve(undefined);
    const timer = ms === null ? undefined : setTimeout(item.wake, ms);
    await promise;
    clearTimeout(timer);
  }

  private async recover(ready: Promise<void>): Promise<void> {
    await ready;
    const onFailure = (error: unknown): void => this.log.warn(`could not look up unfinished work of the kind "${this.kind.what}"; trying again`, { error });
    const resume = async (): Promise<void> => {
      for (const id of await this.kind.unfinished()) this.poke(id);
    };
    // Rejects only at shutdown.
    await retry(resume, { signal: this.ending, firstMs: RECOVERY_RETRY_MS, onFailure }).catch(() => undefined);
  }
}
