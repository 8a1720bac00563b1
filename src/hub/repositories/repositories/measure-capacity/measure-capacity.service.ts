import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { usedPercent } from '../model/capacity-level.plan.js';
import { CapacityRecorder } from '../model/capacity.recorder.js';

const INTERVAL_MS = 60_000;
/** Events that come together are followed by one measurement. */
const EVENTS_MS = 500;

/** What changes the free space, or what has to be measured. */
const CHANGES: ReadonlySet<string> = new Set([
  'BackupCompleted',
  'RestorePointFilesRemoved',
  'RestorePointRewritten',
  'RepositoryCreatedV2',
  'RepositoryImported',
  'RepositoryMoved',
]);

/** Measures the space of all repositories every minute and after each backup, removal and rewriting, and records what changed noticeably. */
@Injectable()
export class MeasureCapacityService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('MeasureCapacity');
  private readonly mutex = new KeyedMutex();
  private events: Subscription | null = null;
  private timer: NodeJS.Timeout | undefined;
  private soon: NodeJS.Timeout | null = null;
  private readonly underWay = new Set<string>();
  private stopped = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly recorder: CapacityRecorder,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup', 'chain', 'repository').subscribe(({ type }) => {
      if (CHANGES.has(type) && !this.stopped) this.soon ??= setTimeout(() => void this.measureAll(), EVENTS_MS);
    });
    void this.feed.ready.then(() => this.measureAll());
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    this.events?.unsubscribe();
    clearTimeout(this.timer);
    if (this.soon !== null) clearTimeout(this.soon);
    // A file system may hang; waiting for it is limited by the hub's own shutdown.
    await this.mutex.runExclusive('recording', () => Promise.resolve());
  }

  /** Never rejects. A repository that cannot be reached is not measured: its last measurement stays, with its time. */
  async measureAll(): Promise<void> {
    if (this.stopped) return;
    clearTimeout(this.timer);
    if (this.soon !== null) clearTimeout(this.soon);
    this.soon = null;
    try {
      await this.readModels.current('repositories');
      const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
      for (const repository of repositories) void this.measure(repository);
    } catch (error) {
      this.log.warn('could not look up the repositories to measure; trying again in a minute', { error });
    }
    // Another round may have begun while this one waited for the database.
    clearTimeout(this.timer);
    if (!this.isStopped()) this.timer = setTimeout(() => void this.measureAll(), INTERVAL_MS);
  }

  /** Storage that hangs delays no other repository, and is asked once. */
  private async measure({ repository_id, name, path }: RepositoryReadModel): Promise<void> {
    if (this.underWay.has(repository_id)) return;
    this.underWay.add(repository_id);
    try {
      await this.files.checkPresent(repository_id, path);
      const { total_bytes, free_bytes } = await this.files.space(path);
      await this.mutex.runExclusive('recording', () =>
        this.isStopped() ? Promise.resolve() : this.record({ repository_id, total_bytes, free_bytes, measured_at: this.clock.iso() }, name),
      );
    } catch (error) {
      this.log.debug('a repository could not be measured', { repository_id, name, problem: messageOf(error) });
    } finally {
      this.underWay.delete(repository_id);
    }
  }

  private async record(space: Parameters<CapacityRecorder['record']>[1], name: string): Promise<void> {
    const { repository_id, total_bytes, free_bytes } = space;
    const before = (await this.recorder.load(repository_id)).state.level;
    await this.recorder.record(repository_id, space);
    const { level } = (await this.recorder.load(repository_id)).state;
    if (level === before) return;
    const facts = { repository_id, name, level, total_bytes, free_bytes };
    const text = `repository "${name}" is ${Math.floor(usedPercent(space))} % full`;
    if (level === 'ok') this.log.info(`${text}, below its thresholds`, facts);
    else this.log.warn(`${text}; add space, or let restore points expire`, facts);
  }

  private isStopped(): boolean {
    return this.stopped;
  }
}
