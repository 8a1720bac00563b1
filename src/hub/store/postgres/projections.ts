import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { DomainError } from '../../../kernel/domain-error.js';
import type { CommandContext } from '../../../kernel/command-context.js';
import { Clock, derivedId } from '../../../lib/clock/clock.js';
import { HUB_ID } from '../event-store/command-runner.js';
import type { Position } from '../../../kernel/position.js';
import { EventStore } from '../event-store/event-store.port.js';
import { isFilledFrom } from '../event-store/history-witness.js';
import type { Projection } from './projection-definition.js';
import { type Halt, type ProjectedBatch, ProjectionRunner, type RunnerHooks, type RunnerState } from './projection-runner.js';
import { type ProjectionEventSkipped, projectionStream } from './projection-skips.events.js';
import { ProjectionSkips, type SkippedEvent } from './projection-skips.js';
import { ProjectionTables, sqlState } from './projection-tables.js';
import { shapeOf } from './read-model-definition.js';
import { ReadModels } from './read-models.js';

/** Injection token of the list of all projections. */
export const PROJECTIONS = Symbol('PROJECTIONS');

const START_RETRY_MS = 500;
/** How often to retry a switch that running queries of readers delay. */
const SWITCH_ATTEMPTS = 30;
const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK_DETECTED = '40P01';

export interface RebuildStatus {
  readonly generation: number;
  readonly position: Position | null;
}

export interface ProjectionStatus {
  readonly name: string;
  readonly state: RunnerState;
  readonly generation: number;
  readonly position: Position | null;
  /** Position of the newest event of the store. */
  readonly head: Position | null;
  /** Seconds since the rows were last at the head; 0 while they are. */
  readonly lagSeconds: number;
  readonly halted: Halt | null;
  /** Events that operators let it skip. */
  readonly skipped: readonly SkippedEvent[];
  readonly rebuild: RebuildStatus | null;
  /** Why the last rebuild was abandoned; null: it was not. */
  readonly lastRebuildError: string | null;
}

interface Managed {
  readonly projection: Projection;
  live: ProjectionRunner | null;
  /** The live rows come from another history than the store holds: they are not continued, only replaced. */
  isOfOtherHistory: boolean;
  building: ProjectionRunner | null;
  rebuilding: boolean;
  lastRebuildError: string | null;
  /** Where the last rebuild halted. */
  lastRebuildHalt: Halt | null;
}

/** Runs all projections of the program, and rebuilds one next to its live rows on request. */
@Injectable()
export class Projections implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = new Logger(Projections.name);
  private readonly tables: ProjectionTables;
  private readonly managed: ReadonlyMap<string, Managed>;
  private readonly listeners = new Set<(batch: ProjectedBatch) => void>();
  private readonly rebuilds = new Set<Promise<void>>();
  private stopping = false;

  constructor(
    private readonly store: EventStore,
    dataSource: DataSource,
    private readonly readModels: ReadModels,
    private readonly clock: Clock,
    @Inject(PROJECTIONS) projections: readonly Projection[],
    @Inject(HUB_ID) private readonly hubId: string,
  ) {
    this.tables = new ProjectionTables(dataSource);
    this.managed = new Map(
      projections.map((projection) => [
        projection.name,
        { projection, live: null, isOfOtherHistory: false, building: null, rebuilding: false, lastRebuildError: null, lastRebuildHalt: null },
      ]),
    );
    for (const { name } of projections) readModels.advanced(name, null);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.start();
  }

  /** The first phase of a shutdown; later phases close the store's subscriptions and the connections. */
  async onModuleDestroy(): Promise<void> {
    await this.stop();
  }

  /** Starts every projection from its checkpoint and removes the leftovers of interrupted rebuilds. Waits for an unavailable database. */
  async start(): Promise<void> {
    this.stopping = false;
    await this.patiently('the projections', () => this.compareHistories());
    for (const managed of this.managed.values()) {
      await this.patiently(`projection ${managed.projection.name}`, async () => {
        const live = await this.tables.liveCheckpoint(managed.projection);
        const leftovers = await this.tables.dropLeftovers(managed.projection);
        if (leftovers.length > 0) this.log.warn(`dropped generations ${leftovers.join(', ')} of ${managed.projection.name}, left by an interrupted rebuild`);
        this.readModels.knowsPast(managed.projection.name, live.shape === shapeOf(managed.projection) && !managed.isOfOtherHistory);
        managed.live = this.runner(managed.projection, live.generation);
        if (!managed.isOfOtherHistory) managed.live.start();
      });
    }
    const changed = this.rebuildChanged().finally(() => this.rebuilds.delete(changed));
    this.rebuilds.add(changed);
  }

  /** Repeats a step of the start until it succeeds or the program stops. */
  private async patiently(what: string, step: () => Promise<void>): Promise<void> {
    while (!this.isStopping()) {
      try {
        await step();
        return;
      } catch (error) {
        this.log.error(`${what} cannot start yet; trying again: ${String(error)}`);
        await pause(START_RETRY_MS);
      }
    }
  }

  /**
   * Finds the live rows that come from another history than the store holds. If there are any, the checkpoints of the others return to their witnesses: up to
   * there the history is the same, and behind it the store may have new events where there were none for them.
   */
  private async compareHistories(): Promise<void> {
    for (const managed of this.managed.values()) {
      const { position, witness } = await this.tables.liveCheckpoint(managed.projection);
      managed.isOfOtherHistory = !(await isFilledFrom(this.store, position, witness));
    }
    if (![...this.managed.values()].some(({ isOfOtherHistory }) => isOfOtherHistory)) return;
    for (const managed of this.managed.values()) {
      if (!managed.isOfOtherHistory) managed.isOfOtherHistory = !(await this.tables.returnToWitness(managed.projection));
    }
  }

  /**
   * Rebuilds the read models whose live rows have another shape than their definition, or come from another history, one after another. The live rows answer
   * queries meanwhile.
   */
  private async rebuildChanged(): Promise<void> {
    for (const { projection, isOfOtherHistory } of this.managed.values()) {
      if (this.isStopping()) return;
      try {
        const { shape, generation } = await this.tables.liveCheckpoint(projection);
        if (shape === shapeOf(projection) && !isOfOtherHistory) continue;
        const rows = `projection ${projection.name}: generation ${generation}`;
        if (isOfOtherHistory) this.log.warn(`${rows} was filled from another history than the event store holds, and is rebuilt`);
        else this.log.log(`${rows} has another shape than this version defines, and is rebuilt`);
        await (
          await this.rebuild(projection.name)
        ).done;
      } catch (error) {
        this.log.warn(`projection ${projection.name} keeps its old rows until it is rebuilt, at the latest after the next start: ${String(error)}`);
      }
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all([...this.managed.values()].flatMap(({ live, building }) => [live, building]).map((runner) => runner?.stop() ?? Promise.resolve()));
    await Promise.all(this.rebuilds);
    for (const managed of this.managed.values()) {
      await managed.live?.stop();
      managed.live = null;
    }
  }

  /** Calls `listener` after each batch that a live projection commits. Returns a function that unsubscribes. */
  onBatch(listener: (batch: ProjectedBatch) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** @throws EventStoreUnavailableError */
  async statuses(): Promise<readonly ProjectionStatus[]> {
    const head = await this.store.head();
    return [...this.managed.values()].map(({ projection, live, building, lastRebuildError }) => ({
      name: projection.name,
      state: live?.state ?? 'stopped',
      generation: live?.generation ?? 0,
      position: live?.position ?? null,
      head,
      lagSeconds: live?.lagSeconds(head) ?? 0,
      halted: live?.halted ?? null,
      skipped: live?.skips.events ?? [],
      rebuild: building === null ? null : { generation: building.generation, position: building.position },
      lastRebuildError,
    }));
  }

  /** The halted projections, for the readiness of the program. Needs neither store nor database. */
  halted(): readonly { readonly name: string; readonly halted: Halt }[] {
    return [...this.managed.values()].flatMap(({ projection, live }) => {
      const halted = live?.state === 'halted' ? live.halted : null;
      return halted === null ? [] : [{ name: projection.name, halted }];
    });
  }

  /** Number of rows of a read model per value of its tallied column. @throws DomainError `projection_not_found` */
  async tally(name: string): Promise<ReadonlyMap<string, number>> {
    return this.tables.tally(this.find(name).projection);
  }

  /** Number of rows and digest of the live read model. @throws DomainError `projection_not_found` */
  async checksum(name: string): Promise<string> {
    return this.tables.checksum(this.find(name).projection);
  }

  /**
   * Rebuilds a read model from the first event, next to the live one, and replaces that when it has caught up. Resolves when the build has started;
   * `done` settles with its outcome. A failed build changes nothing.
   * @throws DomainError `projection_not_found`, `rebuild_in_progress`
   */
  async rebuild(name: string): Promise<{ readonly generation: number; readonly done: Promise<void> }> {
    const managed = this.find(name);
    if (managed.rebuilding) throw new DomainError('conflict', 'rebuild_in_progress', `the projection ${name} is already being rebuilt`, { name });
    managed.rebuilding = true;
    managed.lastRebuildError = null;
    managed.lastRebuildHalt = null;
    let generation: number;
    try {
      await this.tables.dropLeftovers(managed.projection);
      generation = await this.tables.createGeneration(managed.projection);
    } catch (error) {
      managed.rebuilding = false;
      throw error;
    }
    const done = this.build(managed, generation).finally(() => {
      managed.rebuilding = false;
    });
    // The caller need not wait for the rebuild; its failure is logged and shown in the status.
    const settled = done.catch(() => undefined).finally(() => this.rebuilds.delete(settled));
    this.rebuilds.add(settled);
    return { generation, done };
  }

  /**
   * Records that a projection skips the event at which it, or its last rebuild, has halted, and lets it continue. Repeating a skip changes nothing.
   * @throws DomainError `projection_not_found`, `rebuild_in_progress`, `projection_not_halted_there`; EventStoreUnavailableError
   */
  async skip(name: string, position: Position, reason: string, context: CommandContext): Promise<Position | null> {
    const managed = this.find(name);
    if (managed.rebuilding) throw new DomainError('conflict', 'rebuild_in_progress', `the projection ${name} is being rebuilt`, { name });
    const { events } = await ProjectionSkips.load(this.store, name);
    if (events.some((skipped) => skipped.position === position)) return null;
    const halt = [managed.live?.halted, managed.lastRebuildHalt].find((one) => one?.position === position);
    if (halt === undefined || halt === null) {
      const standing = managed.live?.halted ?? managed.lastRebuildHalt;
      throw new DomainError(
        'conflict',
        'projection_not_halted_there',
        standing === null
          ? `The projection ${name} is not halted, so there is nothing to skip.`
          : `The projection ${name} is halted at ${standing.position}, not at ${position}; see GET /projections.`,
        { name, position, halted_position: standing?.position ?? null },
      );
    }
    const { event_id, event_type, stream, error } = halt;
    const skipped: ProjectionEventSkipped = {
      type: 'ProjectionEventSkipped',
      data: { projection: name, position, event_id, event_type, stream, error, reason, skipped_at: this.clock.iso() },
    };
    const id = derivedId(`${projectionStream(name)}/${position}`);
    const metadata = {
      $correlationId: context.correlationId,
      $causationId: context.commandId,
      actor: context.actor,
      hub_id: this.hubId,
      schema_version: 1,
      time: this.clock.iso(),
    };
    const appended = await this.store.append(projectionStream(name), events.length === 0 ? 'no_stream' : events.length - 1, [{ ...skipped, id, metadata }]);
    this.log.warn(`projection ${name} skips event ${event_id} (${event_type}, stream ${stream}) at the request of ${context.actor}: ${reason}`);
    await this.resume(managed);
    return appended.position;
  }

  /** Runs a halted projection again from its current position. */
  private async resume(managed: Managed): Promise<void> {
    const halted = managed.live;
    if (halted?.state !== 'halted' || this.stopping) return;
    await halted.stop();
    managed.live = this.runner(managed.projection, halted.generation);
    // From here on callers may wait for it again.
    this.readModels.advanced(managed.projection.name, halted.position);
    managed.live.start();
  }

  private async build(managed: Managed, generation: number): Promise<void> {
    const { projection } = managed;
    const building = this.runner(projection, generation);
    const old = managed.live;
    managed.building = building;
    try {
      if (this.isStopping()) throw new Error('the program is stopping');
      building.start();
      await building.until(({ caughtUp }) => caughtUp);
      await building.buildIndexes();
      const head = await this.store.head();
      await building.until(({ position }) => head === null || (position !== null && position >= head));
      await this.tables.analyze(projection, generation).catch((error: unknown) => {
        this.log.warn(`generation ${generation} of ${projection.name} has no statistics yet and may be slow to read: ${String(error)}`);
      });
      await old?.stop();
      const standing = old?.position ?? null;
      await building.until(({ position }) => standing === null || (position !== null && position >= standing));
      await this.switch(building, managed.isOfOtherHistory);
      managed.isOfOtherHistory = false;
      this.readModels.knowsPast(projection.name, true);
      managed.live = building;
      managed.building = null;
      if (building.state !== 'halted') this.readModels.advanced(projection.name, building.position);
      this.log.log(`projection ${projection.name}: generation ${generation} has replaced ${old?.generation ?? 'none'}`);
    } catch (error) {
      managed.building = null;
      managed.lastRebuildError = String(error);
      managed.lastRebuildHalt = building.halted;
      this.log.error(`the rebuild of ${projection.name} was abandoned; its live rows are unchanged: ${String(error)}`);
      await building.stop();
      if (!this.stopping) {
        if (!managed.isOfOtherHistory) old?.start();
        await this.tables.dropLeftovers(projection).catch((failure: unknown) => {
          this.log.warn(`generation ${generation} of ${projection.name} will be dropped at the next start: ${String(failure)}`);
        });
      }
      throw error;
    }
  }

  private async switch(building: ProjectionRunner, isOfOtherHistory: boolean): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await building.becomeLive(isOfOtherHistory);
        return;
      } catch (error) {
        const state = sqlState(error);
        if (attempt === SWITCH_ATTEMPTS || (state !== LOCK_NOT_AVAILABLE && state !== DEADLOCK_DETECTED)) throw error;
      }
    }
  }

  private runner(projection: Projection, generation: number): ProjectionRunner {
    const isLive = (): boolean => this.managed.get(projection.name)?.live === runner;
    const hooks: RunnerHooks = {
      onProgress: (position, batch) => {
        if (!isLive()) return;
        this.readModels.advanced(projection.name, position);
        if (batch !== null) for (const listener of this.listeners) listener(batch);
      },
      onHalt: () => {
        if (isLive()) this.readModels.stoodStill(projection.name);
      },
    };
    const runner = new ProjectionRunner(projection, generation, this.store, this.tables, this.clock, hooks);
    return runner;
  }

  private isStopping(): boolean {
    return this.stopping;
  }

  private find(name: string): Managed {
    const managed = this.managed.get(name);
    if (managed === undefined) {
      throw new DomainError('not_found', 'projection_not_found', `there is no projection ${name}; the projections are ${[...this.managed.keys()].join(', ')}`, {
        name,
      });
    }
    return managed;
  }
}
