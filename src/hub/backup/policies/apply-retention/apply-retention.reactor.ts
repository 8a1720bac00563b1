import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import pLimit from 'p-limit';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { DeleteBackup, RecordRetention, type RetentionFinding } from '../../backups/model/backup.commands.js';
import { PruneChains } from '../../chains/model/chain.commands.js';
import { AWAITED_COPIES_READ_MODELS, AwaitedCopiesReader } from '../model/awaited-copies.reader.js';
import { policyStream } from '../model/policy.events.js';
import { policyHistory } from '../model/policy.state.js';
import { decideRetention, planRemovals, RetentionCalendar, tiersOf } from '../model/retention.plan.js';
import { pointOf, RETENTION_READ_MODELS, RetentionReader, type StandingRow } from '../model/retention.reader.js';
import { findingsOf } from './retention-findings.plan.js';
import { worthwhilePrunings } from './worthwhile-prunings.plan.js';

const DAY_MS = 86_400_000;
/** After the removal of a restore point was refused, because it was just being used. */
const REFUSED_MS = 600_000;
const VMS_AT_ONCE = 4;
const STOP_PATIENCE_MS = 1_000;
/** Events after which other restore points of the VM may be kept or removed. */
const OF_BACKUPS: ReadonlySet<string> = new Set([
  'BackupCompleted',
  'BackupDeleted',
  'RestorePointPinned',
  'RestorePointUnpinned',
  'RestorePointHeld',
  'RestorePointReleased',
]);
const NEWS: Readonly<Record<RetentionFinding['kind'], string>> = {
  assign_tiers: 'a restore point is the first good one of a period',
  expire: 'a restore point has expired',
  withdraw_expiry: 'an expired restore point is kept after all',
  defer_removal: 'an expired restore point stays, because later ones need its files',
};
const OF_POLICIES: ReadonlySet<string> = new Set(['PolicyEdited', 'PolicyDeleted']);

/**
 * Applies the retention of policies to the restore points that they have made, VM by VM: after each backup, edit, pin and hold, when a grace period ends, at
 * the start and daily. It records tiers and expiries, takes an expiry back when the restore point is kept after all, removes from the head of a chain downwards
 * what has expired, and has the rest pruned when that is worth its writes.
 */
@Injectable()
export class ApplyRetentionReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('ApplyRetention');
  private readonly work = new Reconciler({ what: 'retention', step: (id) => this.step(id), unfinished: () => this.unfinished() }, this.log);
  private readonly turns = pLimit(VMS_AT_ONCE);
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly runner: CommandRunner,
    private readonly points: RetentionReader,
    private readonly copies: AwaitedCopiesReader,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
    private readonly ids: Ids,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup', 'chain', 'policy').subscribe(({ stream, type, data }) => {
      if (OF_BACKUPS.has(type) || OF_POLICIES.has(type)) this.work.poke(stream);
      const { backup_id } = data;
      if (type === 'RestorePointDamaged' && typeof backup_id === 'string') this.work.poke(`backup-${backup_id}`);
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await Promise.race([this.work.end(), pause(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('backups');
    return (await this.points.vmsOf()).map((vmId) => `vm-${vmId}`);
  }

  /** @param id a backup or a policy, for which the VMs are looked up, or a VM */
  private async step(id: string): Promise<StepOutcome> {
    const [kind, named] = [id.slice(0, id.indexOf('-')), id.slice(id.indexOf('-') + 1)];
    if (kind === 'vm') return this.turns(() => this.apply(named));
    await this.readModels.current('backups');
    for (const vmId of await this.vmsOf(kind, named)) this.work.poke(`vm-${vmId}`);
    return 'done';
  }

  private async vmsOf(kind: string, id: string): Promise<readonly string[]> {
    if (kind === 'policy') return this.points.vmsOf(id);
    const backup = await this.dataSource.getRepository(BackupReadModel).findOne({ select: { backup_id: true, vm_id: true }, where: { backup_id: id } });
    return backup === null ? [] : [backup.vm_id];
  }

  private async apply(vmId: string): Promise<StepOutcome> {
    await this.readModels.current(...RETENTION_READ_MODELS, ...AWAITED_COPIES_READ_MODELS);
    const rows = await this.points.standingOf(vmId);
    const now = this.clock.now().getTime();
    const expired = await this.recordFindings(rows, now);
    if (expired === null) return 'progressed';
    return this.remove(rows, expired, now);
  }

  /** @returns the expired restore points; null: something was news */
  private async recordFindings(rows: readonly StandingRow[], now: number): Promise<ReadonlySet<string> | null> {
    const inUse = await this.points.inUse();
    const calendar = new RetentionCalendar();
    const expired = new Set<string>();
    let recorded = 0;
    const made = rows.filter(({ status, policy_id }) => status === 'completed' && policy_id !== null);
    for (const [policy_id, own] of Map.groupBy(made, (row) => row.policy_id ?? '')) {
      const { state } = await this.runner.load(policyStream(policy_id), policyHistory);
      const [versions, zone] = state.status === 'active' ? [state.retentions, state.settings.time_zone] : [[], null];
      const copies = state.status === 'active' ? (state.settings.copies ?? []) : [];
      const awaited = await this.copies.awaiting(policy_id, copies, own[0]?.vm_id ?? '', now);
      const points = own.map((row) => pointOf(row, inUse, awaited));
      const verdicts = decideRetention(points, versions, now, calendar);
      for (const { backup_id, decision } of verdicts) if (decision === 'expire') expired.add(backup_id);
      const tiers = zone === null ? new Map<string, never>() : tiersOf(points, zone, now, calendar);
      for (const [backupId, finding] of findingsOf(points, verdicts, { policy_id, versions, zone, tiers })) {
        // Not news while a read model that lacks what is recorded is rebuilt after an upgrade.
        if (!(await this.commands.execute(new RecordRetention(backupId, finding, this.context())))) continue;
        this.log.info(NEWS[finding.kind], { backup_id: backupId, policy_id });
        recorded += 1;
      }
    }
    return recorded === 0 ? expired : null;
  }

  /** Removes what has expired, once its grace period has ended and nothing stands on it; what stands below a kept one is pruned. */
  private async remove(rows: readonly StandingRow[], expired: ReadonlySet<string>, now: number): Promise<StepOutcome> {
    const ends = rows.flatMap(({ backup_id, expiry }) =>
      expiry === null || !expired.has(backup_id) ? [] : [[backup_id, Date.parse(expiry.grace_until)] as const],
    );
    const due = new Set(ends.filter(([, end]) => end <= now).map(([backup_id]) => backup_id));
    const { remove, waiting } = planRemovals(rows.map(({ backup_id, parent_backup_id }) => ({ backup_id, parent_backup_id, removable: due.has(backup_id) })));
    for (const backupId of waiting) await this.defer(backupId, rows);
    for (const backupId of remove) if (!(await this.delete(backupId))) return { waitingMs: REFUSED_MS };
    if (remove.length > 0) return 'progressed';
    const [row] = rows;
    if (row !== undefined && waiting.length > 0 && !(await this.prune(row.vm_id, waiting))) return { waitingMs: REFUSED_MS };
    const next = Math.min(...ends.map(([, end]) => end).filter((end) => end > now), now + DAY_MS);
    return { waitingMs: next - now };
  }

  private async defer(backupId: string, rows: readonly StandingRow[]): Promise<void> {
    if (rows.find(({ backup_id }) => backup_id === backupId)?.expiry?.needed_by !== null) return;
    const needed_by = rows.filter(({ parent_backup_id }) => parent_backup_id === backupId).map(({ backup_id }) => backup_id);
    if (await this.commands.execute(new RecordRetention(backupId, { kind: 'defer_removal', needed_by }, this.context()))) {
      this.log.info(NEWS.defer_removal, { backup_id: backupId, needed_by });
    }
  }

  /** @returns whether it is requested, or not worth it yet: there may be no space, or the repository may be away */
  private async prune(vmId: string, waiting: readonly string[]): Promise<boolean> {
    try {
      const { chains } = await this.commands.execute(new PruneChains(vmId, waiting, true, this.context()));
      const worthwhile = new Set(worthwhilePrunings(chains));
      const pruned = waiting.filter((backupId) => worthwhile.has(backupId));
      if (pruned.length > 0) await this.commands.execute(new PruneChains(vmId, pruned, false, this.context(), true));
      return true;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.log.info('expired restore points are not pruned; trying again later', { vm_id: vmId, code: error.code, detail: error.message });
      return false;
    }
  }

  /** @returns whether it is deleted: it may just have become used, pinned or held */
  private async delete(backupId: string): Promise<boolean> {
    try {
      await this.commands.execute(new DeleteBackup(backupId, this.context(), true));
      this.log.info('removed an expired restore point', { backup_id: backupId });
      return true;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.log.info('an expired restore point was not removed; trying again later', { backup_id: backupId, code: error.code, detail: error.message });
      return false;
    }
  }

  private context(): CommandContext {
    const id = this.ids.next();
    return { commandId: id, correlationId: id, actor: 'system:retention' };
  }
}
