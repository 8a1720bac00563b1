import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import pLimit from 'p-limit';
import type { Subscription } from 'rxjs';
import { DataSource, MoreThan } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { LockSummaries } from '../model/lock-summaries.registry.js';
import { type KnownLock, locksToRead } from '../model/lock-level.plan.js';
import { LockReader, type LockedFiles } from '../model/lock.reader.js';
import { type LockSummary, summaryOf } from '../model/lock-summary.plan.js';

const INTERVAL_MS = 60_000;
/** A keeper looks every few seconds; what it has locked is seen soon after the backup. */
const SOON_MS = 10_000;
const AT_ONCE = 4;
const PATIENCE_MS = 10_000;

/** What a lock may change with. */
const CHANGES: ReadonlySet<string> = new Set(['BackupCompleted', 'CopyCompleted', 'RepositoryImmutabilitySet', 'BackupDeleted', 'CopyDeleted']);

type LockedPoint = LockedFiles & { readonly id: string; readonly sealed_at: number };

const COLUMNS = { repository_id: true, folder: true, disks: true, completed_at: true } as const;

/** Reads every minute whether the files of locked restore points and copies are immutable, and warns when the keeper of a repository is late. */
@Injectable()
export class WatchLocksService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('WatchLocks');
  private readonly known = new Map<string, KnownLock>();
  private readonly late = new Set<string>();
  private events: Subscription | null = null;
  private timer: NodeJS.Timeout | undefined;
  private due = Infinity;
  private round: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly locks: LockReader,
    private readonly summaries: LockSummaries,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup', 'copy', 'repository').subscribe(({ type }) => {
      if (CHANGES.has(type)) this.schedule(SOON_MS);
    });
    void this.feed.ready.then(() => this.schedule(0));
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    this.events?.unsubscribe();
    clearTimeout(this.timer);
    await this.round;
  }

  private schedule(afterMs: number): void {
    const due = this.clock.now().getTime() + afterMs;
    if (this.stopped || this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => {
      this.due = Infinity;
      this.round = this.round.then(() => this.look()).then(() => this.schedule(INTERVAL_MS));
    }, afterMs);
  }

  private async look(): Promise<void> {
    try {
      await this.readModels.current('backups', 'copies', 'repositories');
      const points = await this.lockedPoints();
      const byId = new Map(points.map((point) => [point.id, point]));
      for (const id of this.known.keys()) if (!byId.has(id)) this.known.delete(id);
      const turns = pLimit(AT_ONCE);
      await Promise.all(locksToRead([...byId.keys()], this.known, this.clock.now().getTime()).map((id) => turns(() => this.read(byId.get(id)))));
      await this.summarise(points);
    } catch (error) {
      if (!this.stopped) this.log.warn('could not look at the locks of restore points; trying again in a minute', { error });
    }
  }

  private async read(point: LockedPoint | undefined): Promise<void> {
    if (point === undefined || this.stopped) return;
    const immutable = await this.locks.read(point, PATIENCE_MS);
    this.known.set(point.id, { immutable, read_at: this.clock.now().getTime() });
  }

  private async lockedPoints(): Promise<readonly LockedPoint[]> {
    const locked_until = MoreThan(this.clock.now());
    const backups = await this.dataSource
      .getRepository(BackupReadModel)
      .find({ select: { backup_id: true, ...COLUMNS }, where: { status: 'completed', locked_until } });
    const copies = await this.dataSource
      .getRepository(CopyReadModel)
      .find({ select: { copy_id: true, repository_id: true, folder: true, disks: true, ended_at: true }, where: { status: 'completed', locked_until } });
    return [
      ...backups.map(({ backup_id, completed_at, ...files }) => ({ ...files, id: backup_id, sealed_at: completed_at?.getTime() ?? 0 })),
      ...copies.map(({ copy_id, ended_at, ...files }) => ({ ...files, id: copy_id, sealed_at: ended_at?.getTime() ?? 0 })),
    ];
  }

  private async summarise(points: readonly LockedPoint[]): Promise<void> {
    const now = this.clock.now().getTime();
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
    const groups = Map.groupBy(points, ({ repository_id }) => repository_id);
    const summaries = new Map<string, LockSummary>();
    for (const { repository_id, name, immutability_mode } of repositories) {
      const own = groups.get(repository_id) ?? [];
      const summary = summaryOf(
        own.map(({ id, sealed_at }) => ({ sealed_at, lock: this.known.get(id) ?? null })),
        now,
        immutability_mode === 'enforced',
      );
      summaries.set(repository_id, summary);
      this.report(repository_id, name, summary);
    }
    this.summaries.set(summaries);
  }

  private report(repository_id: string, name: string, { keeper_late, locked, enforced, unconfirmed_since }: LockSummary): void {
    if (keeper_late === this.late.has(repository_id)) return;
    const facts = { repository_id, name, locked, enforced, unconfirmed_since };
    if (keeper_late) {
      this.late.add(repository_id);
      this.log.warn('the keeper of a repository has not locked a restore point; see whether sendense-keeper runs and names this repository', facts);
    } else {
      this.late.delete(repository_id);
      this.log.info('the keeper of a repository has locked all its restore points', facts);
    }
  }
}
