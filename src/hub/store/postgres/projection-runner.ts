import { setTimeout as pause } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Clock } from '../../../lib/clock/clock.js';
import type { Position } from '../../../kernel/position.js';
import type { EventStore, RecordedEvent, Subscription } from '../event-store/event-store.port.js';
import { isRowPosition } from '../event-store/position-encoding.js';
import { isDatabaseAway } from './connection-errors.js';
import { type Projection, RecentRows } from './projection-definition.js';
import { ProjectionSkips } from './projection-skips.js';
import { type HaltedAt, LostCheckpointRaceError, type ProjectionTables, UnprojectableError } from './projection-tables.js';

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** Maximum number of events folded per transaction, to spread the fixed cost of a batch. */
const BATCH_EVENTS = 2_000;
/** Number of events that PostgreSQL copies per transaction: some tenths of a second. */
const COPIED_EVENTS = 10_000;
/** Number of rows that a runner keeps between batches while it catches up. */
const RECENT_ROWS = 1_000;
/** Minimum interval between checkpoints that only skip events of other categories, in milliseconds; a restart skips them again. */
const IDLE_CHECKPOINT_INTERVAL_MS = 1_000;

export type RunnerState = 'stopped' | 'catching_up' | 'live' | 'retrying' | 'halted';

/** A folded and committed batch. */
export interface ProjectedBatch {
  readonly projection: string;
  readonly events: number;
  /** Milliseconds from the recording of the batch's oldest event to the commit of its rows. */
  readonly lagMs: number;
}

/** The event at which a projection has halted. */
export interface Halt extends HaltedAt {
  readonly event_type: string;
  readonly stream: string;
}

export interface RunnerHooks {
  /** Reports the current position of the rows after each commit. */
  onProgress(position: Position, batch: ProjectedBatch | null): void;
  onHalt(halt: Halt): void;
}

class RunnerStoppedError extends Error {}
class PoisonEventError extends Error {}

/**
 * Keeps one generation of a read model up to date with the store. It waits for an unavailable database. An event that cannot be folded halts only this
 * runner, at the position before that event.
 */
export class ProjectionRunner {
  private readonly log: Logger;
  private readonly exclusive = new Mutex();
  private readonly waiters = new Set<() => void>();
  private stopping = new AbortController();
  private subscription: Subscription | null = null;
  private supervision: Promise<void> = Promise.resolve();
  private stored: Position | null = null;
  private storedAt = 0;
  private at: Position | null = null;
  private caughtUp = false;
  private currentState: RunnerState = 'stopped';
  private haltedAt: Halt | null = null;
  private leftOut = ProjectionSkips.none;
  private behindSince = performance.now();
  private readonly recent: RecentRows;

  constructor(
    readonly projection: Projection,
    readonly generation: number,
    private readonly store: EventStore,
    private readonly tables: ProjectionTables,
    private readonly clock: Clock,
    private readonly hooks: RunnerHooks,
  ) {
    this.log = new Logger(`projection ${projection.name} generation ${generation}`);
    this.recent = new RecentRows(projection, RECENT_ROWS);
  }

  get position(): Position | null {
    return this.at;
  }

  get state(): RunnerState {
    return this.currentState;
  }

  get halted(): Halt | null {
    return this.haltedAt;
  }

  /** As of the last subscription. */
  get skips(): ProjectionSkips {
    return this.leftOut;
  }

  /** Seconds since its rows were last at the head of the store; 0 while they are. */
  lagSeconds(head: Position | null): number {
    if (head === null || (this.at !== null && this.at >= head)) {
      this.behindSince = performance.now();
      return 0;
    }
    return (performance.now() - this.behindSince) / 1000;
  }

  start(): void {
    if (this.currentState !== 'stopped') return;
    this.stopping = new AbortController();
    this.currentState = 'catching_up';
    this.supervision = this.supervise();
  }

  /** Resolves once the current batch has been committed or abandoned. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.subscription?.close().catch(() => undefined);
    await this.supervision;
    if (this.currentState !== 'halted') this.currentState = 'stopped';
    this.wake();
  }

  /** Resolves when `reached` holds, checked after each change of position or state. @throws when the runner halts or is stopped */
  async until(reached: (runner: { readonly position: Position | null; readonly caughtUp: boolean }) => boolean): Promise<void> {
    while (!reached({ position: this.at, caughtUp: this.caughtUp })) {
      if (this.currentState === 'halted' || this.currentState === 'stopped') {
        throw new Error(`projection ${this.projection.name} generation ${this.generation} is ${this.currentState}: ${this.haltedAt?.error ?? ''}`);
      }
      await new Promise<void>((resolve) => this.waiters.add(resolve));
    }
  }

  /** Builds the indexes that this generation still lacks; batches wait. @throws when the runner is stopped, or the indexes cannot be built */
  async buildIndexes(): Promise<void> {
    await this.exclusive.run(async () => {
      for (let failures = 0; ; failures += 1) {
        try {
          await this.tables.buildIndexes(this.projection, this.generation, this.stopping.signal);
          return;
        } catch (error) {
          if (this.isStopping()) throw new RunnerStoppedError();
          if (!isDatabaseAway(error)) throw error;
          this.log.warn(`could not build its indexes; trying again: ${String(error)}`);
          await this.backOff(failures);
        }
      }
    });
  }

  /** Makes this generation the live one, between two batches. @param replacesOtherHistory see `switchTo` @throws LostCheckpointRaceError, or the driver's error */
  async becomeLive(replacesOtherHistory: boolean): Promise<void> {
    await this.exclusive.run(async () => {
      await this.tables.switchTo(this.projection, this.generation, this.stored, this.at, replacesOtherHistory);
      this.stored = this.at;
    });
  }

  private async supervise(): Promise<void> {
    for (let failures = 0; !this.isStopping(); failures += 1) {
      try {
        await this.subscribe(() => (failures = 0));
        // The subscription ended without a request: the store was closed.
        if (!this.isStopping()) throw new Error('the subscription has ended');
      } catch (error) {
        if (this.isStopping() || error instanceof PoisonEventError) break;
        this.currentState = 'retrying';
        this.log.error(`restarting after an error: ${String(error)}`);
        await this.backOff(failures).catch(() => undefined);
      }
    }
    this.wake();
  }

  private async subscribe(onBatch: () => void): Promise<void> {
    const checkpoint = (await this.tables.checkpoints(this.projection)).find(({ generation }) => generation === this.generation);
    if (checkpoint === undefined) throw new Error(`there is no checkpoint of generation ${this.generation}`);
    this.leftOut = await ProjectionSkips.load(this.store, this.projection.name);
    this.stored = checkpoint.position;
    this.at = checkpoint.position;
    this.caughtUp = false;
    if (this.at !== null) this.hooks.onProgress(this.at, null);
    this.recent.clear();
    await this.copyHistory();
    if (this.isStopping()) return;
    this.subscription = this.store.subscribeToAll({
      after: this.at,
      batchSize: BATCH_EVENTS,
      ...(this.projection.categories === null ? {} : { categories: this.projection.categories }),
      handle: async ({ events, upTo, caughtUp }) => {
        await this.exclusive.run(async () => this.advance(events, upTo, caughtUp));
        onBatch();
      },
    });
    await this.subscription.ended;
  }

  /** If rows are copies of events, and the events are in PostgreSQL, it creates most of them. The newest, and those at which copying fails, are folded. */
  private async copyHistory(): Promise<void> {
    if (this.projection.copied === undefined || this.leftOut.events.length > 0 || !isRowPosition(await this.store.head())) return;
    try {
      while (!this.isStopping()) {
        const to = await this.exclusive.run(() => this.tables.copy(this.projection, this.generation, this.stored, COPIED_EVENTS));
        if (to === null) return;
        this.stored = to;
        this.at = to;
        this.hooks.onProgress(to, null);
        this.wake();
      }
    } catch (error) {
      if (!(error instanceof UnprojectableError)) throw error;
    }
  }

  private async advance(events: readonly RecordedEvent[], upTo: Position, caughtUp: boolean): Promise<void> {
    await this.foldOrHalt(events, upTo, !caughtUp);
    this.at = upTo;
    this.caughtUp = caughtUp;
    this.currentState = caughtUp ? 'live' : 'catching_up';
    if (caughtUp) this.behindSince = performance.now();
    const oldest = events[0];
    const lagMs = oldest === undefined ? 0 : this.clock.now().getTime() - Date.parse(oldest.recordedAt);
    this.hooks.onProgress(upTo, oldest === undefined ? null : { projection: this.projection.name, events: events.length, lagMs });
    this.wake();
  }

  private async foldOrHalt(given: readonly RecordedEvent[], upTo: Position, catchingUp: boolean): Promise<void> {
    const events = given.filter((event) => !this.leftOut.has(event));
    const only = events[0];
    if (only === undefined && performance.now() - this.storedAt < IDLE_CHECKPOINT_INTERVAL_MS) return;
    if (!this.keepsRecent(catchingUp)) this.recent.clear();
    try {
      await this.commit(events, upTo, catchingUp);
    } catch (error) {
      if (!(error instanceof UnprojectableError) || only === undefined) throw error;
      if (events.length === 1 && this.leftOut.explains(only)) {
        this.log.warn(`skipped event ${only.id} (${only.type}, stream ${only.stream}), which depends on a skipped event: ${error.message}`);
        return this.commit([], upTo, catchingUp);
      }
      if (events.length === 1) return this.halt(only, error);
      // One by one, so that all events before the poison event are kept and that event is identified.
      for (const event of events) await this.foldOrHalt([event], event.position, catchingUp);
      await this.commit([], upTo, catchingUp);
    }
  }

  /** Commits a batch; retries while the database is unavailable. */
  private async commit(events: readonly RecordedEvent[], upTo: Position, catchingUp: boolean): Promise<void> {
    for (let failures = 0; ; failures += 1) {
      try {
        const recent = this.keepsRecent(catchingUp) ? { recent: this.recent } : {};
        await this.tables.apply(this.projection, this.generation, events, this.stored, upTo, { catchingUp, ...recent });
        break;
      } catch (error) {
        if (error instanceof UnprojectableError) throw error;
        if (error instanceof LostCheckpointRaceError) {
          // If only the answer was lost with the connection, the commit did happen: the checkpoint is at the end of this batch.
          if (failures > 0 && (await this.storedPosition()) === upTo) break;
          throw error;
        }
        this.currentState = 'retrying';
        this.log.warn(`could not commit a batch of ${events.length} events up to ${upTo}; trying again: ${String(error)}`);
        await this.backOff(failures);
      }
    }
    this.stored = upTo;
    this.at = upTo;
    this.storedAt = performance.now();
  }

  /** A projection in order folds every batch onto the same few rows. */
  private keepsRecent(catchingUp: boolean): boolean {
    return catchingUp || this.projection.inOrder !== undefined;
  }

  private async halt(event: RecordedEvent, error: UnprojectableError): Promise<never> {
    const halt: Halt = { position: event.position, event_id: event.id, error: error.message, event_type: event.type, stream: event.stream };
    this.haltedAt = halt;
    this.currentState = 'halted';
    this.log.error(`halted at event ${event.id} (${event.type}, stream ${event.stream}, position ${event.position}): ${error.message}`);
    if (this.at !== null) this.hooks.onProgress(this.at, null);
    this.hooks.onHalt(halt);
    this.wake();
    for (let failures = 0; ; failures += 1) {
      try {
        await this.tables.recordHalt(this.projection, this.generation, halt);
        break;
      } catch (failure) {
        this.log.warn(`could not record the halt yet; trying again: ${String(failure)}`);
        await this.backOff(failures);
      }
    }
    throw new PoisonEventError(error.message);
  }

  private async storedPosition(): Promise<Position | null> {
    const checkpoints = await this.tables.checkpoints(this.projection);
    return checkpoints.find(({ generation }) => generation === this.generation)?.position ?? null;
  }

  private async backOff(failures: number): Promise<void> {
    await pause(Math.min(FIRST_BACKOFF_MS * 2 ** failures, MAX_BACKOFF_MS), undefined, { signal: this.stopping.signal, ref: false }).catch(() => undefined);
    if (this.isStopping()) throw new RunnerStoppedError();
  }

  private isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  private wake(): void {
    const waiters = [...this.waiters];
    this.waiters.clear();
    for (const waiter of waiters) waiter();
  }
}

class Mutex {
  private last: Promise<unknown> = Promise.resolve();

  async run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work, work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}
