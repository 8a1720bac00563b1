import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import pLimit from 'p-limit';
import type { Subscription } from 'rxjs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { type CopyFinding, DeleteCopy, RecordCopyRetention } from '../../../repositories/copies/model/copy.commands.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { decideCopyRetention } from '../model/copy-retention.plan.js';
import { byRepository, COPY_RETENTION_READ_MODELS, type CopyOfVm, CopyRetentionReader, madeBy } from '../model/copy-retention.reader.js';
import { policyStream } from '../model/policy.events.js';
import { policyHistory } from '../model/policy.state.js';
import { planRemovals, RetentionCalendar, type RetentionVerdict } from '../model/retention.plan.js';

const DAY_MS = 86_400_000;
/** After the deletion of a copy was refused, because it was just being used. */
const REFUSED_MS = 600_000;
/** All VMs are looked at when the hub starts. */
const VMS_AT_ONCE = 4;
const STOP_PATIENCE_MS = 1_000;
/** Events after which other copies of the VM may be kept or deleted. */
const NEWS: ReadonlySet<string> = new Set([
  'CopyCompleted',
  'CopyDeleted',
  'CopyDamagedV2',
  'CopyHealed',
  'RestorePointTiersAssigned',
  'RestorePointPinned',
  'RestorePointUnpinned',
  'RestorePointHeld',
  'RestorePointReleased',
  'PolicyEdited',
  'PolicyDeleted',
]);

/**
 * Applies the retentions of policies' rules for copies, VM by VM. It records what has expired, takes an expiry back when the copy is kept after all, and deletes
 * what has expired once its grace period has ended and no other copy depends on it.
 */
@Injectable()
export class ExpireCopiesReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('ExpireCopies');
  private readonly work = new Reconciler({ what: 'retention of copies', step: (id) => this.step(id), unfinished: () => this.unfinished() }, this.log);
  private readonly turns = pLimit(VMS_AT_ONCE);
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly runner: CommandRunner,
    private readonly copies: CopyRetentionReader,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
    private readonly ids: Ids,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('copy', 'backup', 'policy').subscribe(({ stream, type }) => {
      if (NEWS.has(type)) this.work.poke(stream);
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await Promise.race([this.work.end(), pause(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('copies');
    return (await this.copies.vmsOf()).map((vmId) => `vm-${vmId}`);
  }

  /** @param id a copy, a backup or a policy, for which the VMs are looked up, or a VM */
  private async step(id: string): Promise<StepOutcome> {
    const [kind, named] = [id.slice(0, id.indexOf('-')), id.slice(id.indexOf('-') + 1)];
    if (kind === 'vm') return this.turns(() => this.apply(named));
    await this.readModels.current('copies');
    for (const vmId of await this.vmsOf(kind, named)) this.work.poke(`vm-${vmId}`);
    return 'done';
  }

  private async vmsOf(kind: string, id: string): Promise<readonly string[]> {
    if (kind === 'policy') return this.copies.vmsOf(id);
    const vmId = await this.copies.vmOf(kind === 'copy' ? 'copy' : 'backup', id);
    return vmId === null ? [] : [vmId];
  }

  private async apply(vmId: string): Promise<StepOutcome> {
    await this.readModels.current(...COPY_RETENTION_READ_MODELS);
    const standing = await this.copies.standingOf(vmId);
    const now = this.clock.now().getTime();
    const expired = await this.recordFindings(standing, now);
    if (expired === null) return 'progressed';
    return this.deleteExpired(standing, expired, now);
  }

  /** @returns the ids of the copies that have expired; null: something was news */
  private async recordFindings(standing: readonly CopyOfVm[], now: number): Promise<ReadonlySet<string> | null> {
    const calendar = new RetentionCalendar();
    const expired = new Set<string>();
    let recorded = 0;
    for (const policyId of new Set(standing.flatMap(({ policy_id }) => (policy_id === null ? [] : [policy_id])))) {
      const { state } = await this.runner.load(policyStream(policyId), policyHistory);
      const policy = state.status === 'active' ? state : null;
      for (const [repositoryId, copies] of byRepository(madeBy(standing, policyId))) {
        for (const [index, verdict] of decideCopyRetention(copies, policy, repositoryId, now, calendar).entries()) {
          const copy = copies[index];
          if (copy === undefined) continue;
          if (verdict.decision === 'expire') expired.add(copy.copy_id);
          const finding = findingOf(copy, verdict, policyId, policy?.version ?? 0);
          if (finding === null || !(await this.commands.execute(new RecordCopyRetention(copy.copy_id, finding, this.context())))) continue;
          const { copy_id, backup_id } = copy;
          this.log.info(finding.kind === 'expire' ? 'a copy has expired' : 'an expired copy is kept after all', { copy_id, backup_id, policy_id: policyId });
          recorded += 1;
        }
      }
    }
    return recorded === 0 ? expired : null;
  }

  private async deleteExpired(standing: readonly CopyOfVm[], expired: ReadonlySet<string>, now: number): Promise<StepOutcome> {
    const graceEndOf = ({ copy_id, expiry }: CopyOfVm): number => (expiry === null || !expired.has(copy_id) ? Infinity : Date.parse(expiry.grace_until));
    let deleted = 0;
    for (const copies of byRepository(standing).values()) {
      const ids = new Map(copies.map(({ backup_id, copy_id }) => [backup_id, copy_id]));
      const points = copies.map((copy) => ({ backup_id: copy.backup_id, parent_backup_id: copy.parent_backup_id, removable: graceEndOf(copy) <= now }));
      for (const backupId of planRemovals(points).remove) {
        if (!(await this.delete(ids.get(backupId) ?? ''))) return { waitingMs: REFUSED_MS };
        deleted += 1;
      }
    }
    if (deleted > 0) return 'progressed';
    const ends = standing.map(graceEndOf).filter((end) => end > now);
    return { waitingMs: Math.min(...ends, now + DAY_MS) - now };
  }

  /** @returns whether it is deleted: it may just have become used, or kept again */
  private async delete(copyId: string): Promise<boolean> {
    try {
      await this.commands.execute(new DeleteCopy(copyId, this.context(), true));
      this.log.info('deleted an expired copy', { copy_id: copyId });
      return true;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.log.info('an expired copy was not deleted; trying again later', { copy_id: copyId, code: error.code, detail: error.message });
      return false;
    }
  }

  private context(): CommandContext {
    const id = this.ids.next();
    return { commandId: id, correlationId: id, actor: 'system:retention' };
  }
}

/** What a verdict changes in what is recorded; null: nothing. */
function findingOf({ expiry }: CopyOfVm, verdict: RetentionVerdict, policy_id: string, policy_version: number): CopyFinding | null {
  if (verdict.decision === 'expire') return expiry === null ? { kind: 'expire', policy_id, policy_version, reasons: verdict.reasons } : null;
  return expiry === null ? null : { kind: 'withdraw_expiry', kept_by: verdict.reasons.map(({ rule }) => rule) };
}
