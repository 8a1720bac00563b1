import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { Subscription } from 'rxjs';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { RequestCopy } from '../../../repositories/copies/model/copy.commands.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { AWAITED_COPIES_READ_MODELS, type AwaitedCopy, AwaitedCopiesReader } from '../model/awaited-copies.reader.js';
import type { CopyRule } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';

/** All policies are one item: a look at those without anything to copy is short. */
const ALL = 'all';
/** Copies of one policy into one repository that are requested ahead; more would only hold up the deletion of their sources. */
const AHEAD = 32;
/** Failed copies are requested again with time, which no event tells. */
const LOOK_MS = 300_000;
const STOP_PATIENCE_MS = 1_000;
/** Events after which a copy may be due. */
const NEWS: ReadonlySet<string> = new Set([
  'BackupCompleted',
  'RestorePointTiersAssigned',
  'PolicyCreated',
  'PolicyEdited',
  'CopyCompleted',
  'CopyFailed',
  'CopyCancelled',
  'CopyDeleted',
]);

/** Requests the copies that policies want of their restore points, oldest first, and again an hour after one has failed. */
@Injectable()
export class RequestCopiesReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RequestCopies');
  private readonly work = new Reconciler({ what: 'copies of policies', step: () => this.step(), unfinished: () => Promise.resolve([ALL]) }, this.log);
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly policies: PolicyReader,
    private readonly copies: AwaitedCopiesReader,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup', 'policy', 'copy').subscribe(({ type }) => {
      if (NEWS.has(type)) this.work.poke(ALL);
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await Promise.race([this.work.end(), pause(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  private async step(): Promise<StepOutcome> {
    await this.readModels.current('policies', ...AWAITED_COPIES_READ_MODELS);
    for (const { policy_id, enabled, settings } of await this.policies.all()) {
      if (enabled) for (const rule of settings.copies ?? []) await this.requestBy(policy_id, rule);
    }
    return { waitingMs: LOOK_MS };
  }

  private async requestBy(policyId: string, rule: CopyRule): Promise<void> {
    const room = AHEAD - (await this.copies.underWay(policyId, rule));
    if (room <= 0) return;
    for (const due of await this.copies.due(policyId, rule, this.clock.now().getTime(), room)) {
      if (this.work.isStopping()) return;
      await this.request(policyId, rule, due);
    }
  }

  /** Derived ids: a hub that was killed before it knew of a copy requests the same one again. */
  private async request(policyId: string, rule: CopyRule, { backup_id, failures }: AwaitedCopy): Promise<void> {
    const id = derivedId(`policy-copy/${policyId}/${rule.repository_id}/${backup_id}/${failures}`);
    const context = { commandId: id, correlationId: id, actor: 'system:request-copies' };
    try {
      await this.commands.execute(new RequestCopy(backup_id, rule.repository_id, rule.with_parents, policyId, rule.bandwidth_limit_bps, context));
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      // It may just have been deleted or copied.
      this.log.warn('a copy of a policy could not be requested', { backup_id, repository_id: rule.repository_id, code: error.code, detail: error.message });
    }
  }
}
