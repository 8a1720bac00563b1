import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { Subscription } from 'rxjs';
import { DataSource, MoreThan } from 'typeorm';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { HubConfig } from '../../../hub.config.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { StartVerification } from '../model/verification.commands.js';
import { planScrub, type StandingChain } from './scrub.plan.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ENDS: ReadonlySet<string> = new Set(['VerificationPassed', 'VerificationFailed', 'VerificationAborted']);

/** A verification has read the restore points of its chain up to the requested one, which may be deleted by now. */
const STANDING_CHAINS = `
  with reading as (
    select verified.chain_id, requested.created_position as up_to, max(verified.ended_at) as ended_at
      from verifications verified join backups requested using (backup_id, repository_id)
     where verified.status in ('passed', 'failed') group by 1, 2),
  standing as (
    select backup_id, chain_id, repository_id, created_position, completed_at,
           (select coalesce(sum((file->>'size_bytes')::bigint), 0) from jsonb_array_elements(files) file) as size_bytes
      from backups where status = 'completed' and damage is null and chain_id is not null),
  point as (
    select standing.*, greatest(completed_at, max(ended_at)) as checked_at
      from standing left join reading on reading.chain_id = standing.chain_id and up_to >= created_position
     group by backup_id, standing.chain_id, repository_id, created_position, completed_at, size_bytes)
  select chain_id, repository_id, false as of_copies, (array_agg(backup_id order by created_position desc))[1] as newest_backup_id,
         sum(size_bytes)::float8 as size_bytes, (extract(epoch from min(checked_at)) * 1000)::float8 as checked_at
    from point group by 1, 2`;

/** Each sound copy that no other one depends on, with those that it depends on in its repository. */
const STANDING_COPIES = `
  with recursive standing as (
    select backup_id, chain_id, repository_id, parent_backup_id, greatest(verified_at, checked_at) as checked_at,
           (select coalesce(sum((disk->>'size_bytes')::bigint), 0) from jsonb_array_elements(disks) disk) as size_bytes
      from copies where status = 'completed' and damage is null),
  lineage as (
    select backup_id as newest_backup_id, standing.* from standing
     where not exists (select from standing other where other.repository_id = standing.repository_id and other.parent_backup_id = standing.backup_id)
    union all
    select lineage.newest_backup_id, parent.* from lineage
      join standing parent on parent.repository_id = lineage.repository_id and parent.backup_id = lineage.parent_backup_id)
  select chain_id, repository_id, true as of_copies, newest_backup_id,
         sum(size_bytes)::float8 as size_bytes, (extract(epoch from min(checked_at)) * 1000)::float8 as checked_at
    from lineage group by 1, 2, 4`;

/**
 * Verifies a share of each repository per day, one chain after the other, by verifications like those that users request, and heals what is damaged from
 * other places. All it knows is read from the read models, so a restart changes nothing.
 */
@Injectable()
export class ScrubChainsReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('ScrubChains');
  private readonly work = new Reconciler({ what: 'scrub', step: () => this.step(), unfinished: () => Promise.resolve(['scrub']) }, this.log);
  private events: Subscription | null = null;
  /** To be verified next. Choosing takes seconds where there are a million restore points. */
  private chosen: StandingChain[] = [];
  /** By a clock that nobody sets. Milliseconds. */
  private nextChoice = 0;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly commands: CommandBus,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    private readonly ids: Ids,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('verification').subscribe(({ type }) => {
      if (ENDS.has(type)) this.work.poke('scrub');
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await this.work.end();
  }

  private async step(): Promise<StepOutcome> {
    await this.readModels.current('verifications');
    // One at a time: a user's verification waits for one chain at most.
    if (await this.dataSource.getRepository(VerificationReadModel).existsBy({ status: 'running' })) return { waitingMs: HOUR_MS };
    const { scrubPercentPerDay: percent } = this.config;
    if (percent === 0) this.chosen = [];
    else if (this.chosen.length === 0 && performance.now() >= this.nextChoice) {
      this.chosen = await this.choose(percent, this.clock.now().getTime());
      this.nextChoice = performance.now() + HOUR_MS;
    }
    for (let chain = this.chosen.shift(); chain !== undefined && !this.work.isStopping(); chain = this.chosen.shift()) {
      if (await this.request(chain)) break;
      const { repository_id } = chain;
      this.chosen = this.chosen.filter((other) => other.repository_id !== repository_id);
    }
    return { waitingMs: HOUR_MS };
  }

  private async choose(percent: number, now: number): Promise<StandingChain[]> {
    await this.readModels.current('backups', 'copies');
    const requested = await this.dataSource.getRepository(VerificationReadModel).findBy({ requested_at: MoreThan(new Date(now - DAY_MS)) });
    const recent = requested.map(({ chain_id, repository_id, backup_id, bytes_checked }) => ({
      chain_id,
      repository_id,
      backup_id,
      bytes_checked: Number(bytes_checked),
    }));
    const chains = await this.dataSource.query<StandingChain[]>(STANDING_CHAINS);
    const copies = await this.dataSource.query<StandingChain[]>(STANDING_COPIES);
    return [...planScrub([...chains, ...copies], recent, percent, now)];
  }

  /** @returns whether it is requested: the repository may be away, or files may just be replaced */
  private async request({ chain_id, repository_id, newest_backup_id: backup_id }: StandingChain): Promise<boolean> {
    const id = this.ids.next();
    try {
      const context = { commandId: id, correlationId: id, actor: 'system:scrub' };
      await this.commands.execute(new StartVerification(backup_id, null, context, repository_id, true));
      return true;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.log.info('a chain is not scrubbed; trying again within an hour', { chain_id, repository_id, backup_id, code: error.code, detail: error.message });
      return false;
    }
  }
}
