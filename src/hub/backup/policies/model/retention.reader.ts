import { Injectable } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { ACTIVE_MOUNTS } from '../../../restore/restore-mounts/model/active-mounts.reader.js';
import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import { decideRetention, RetentionCalendar, type RetentionPoint, type RetentionVerdict, type RetentionVersion } from './retention.plan.js';

export const COLUMNS = {
  backup_id: true,
  vm_id: true,
  vm_name: true,
  policy_id: true,
  policy_version: true,
  instant: true,
  completed_at: true,
  parent_backup_id: true,
  status: true,
  damage: true,
  tiers: true,
  pin: true,
  hold: true,
  expiry: true,
  locked_until: true,
} as const;
/** What the methods read. */
export const RETENTION_READ_MODELS = ['backups', 'restore_mounts', 'restore_jobs', 'restore_exports'] as const;
/** So many VMs are read at once. */
const VMS_AT_ONCE = 200;
/** So many of the restore points that would expire are named. */
const MOST_SHOWN = 1_000;
const NONE: ReadonlySet<string> = new Set();

export type StandingRow = Pick<BackupReadModel, keyof typeof COLUMNS>;

/** Of a restore point, or with damage and lock of a copy of it. */
export type PointRow = Omit<StandingRow, 'damage'> & { readonly damage: object | null };

export type PolicyPoint = RetentionPoint & Pick<StandingRow, 'vm_id' | 'vm_name' | 'expiry'>;

/** What other rules would change. */
export type RetentionEffect = {
  readonly kept: number;
  readonly expiring: number;
  /** How many of the expiring ones are kept without the change. */
  readonly newly_expiring: number;
  /** The first of these. */
  readonly points: readonly (PolicyPoint & { readonly reasons: readonly ExpiryReason[] })[];
};

/** Looks up the restore points that a retention decides about. */
@Injectable()
export class RetentionReader {
  constructor(private readonly dataSource: DataSource) {}

  /** The VMs of which policies, which may have been deleted, have made restore points. @param policyId only of this one */
  async vmsOf(policyId?: string): Promise<readonly string[]> {
    const query = this.dataSource
      .getRepository(BackupReadModel)
      .createQueryBuilder('backup')
      .select('distinct backup.vm_id', 'vm_id')
      .where("backup.status = 'completed' and backup.policy_id is not null");
    if (policyId !== undefined) query.andWhere('backup.policy_id = :policyId', { policyId });
    return (await query.getRawMany<{ vm_id: string }>()).map(({ vm_id }) => vm_id);
  }

  /** All restore points of a VM, and the backups that are about to become one. */
  standingOf(vmId: string): Promise<readonly StandingRow[]> {
    return this.dataSource
      .getRepository(BackupReadModel)
      .find({ select: COLUMNS, where: { vm_id: vmId, status: In(['running', 'completed']) }, order: { created_position: 'ASC' } });
  }

  /** The restore points that are mounted, exported or being restored. */
  async inUse(): Promise<ReadonlySet<string>> {
    const rows = await Promise.all([
      this.dataSource.getRepository(RestoreMountReadModel).findBy({ status: In([...ACTIVE_MOUNTS]) }),
      this.dataSource.getRepository(RestoreJobReadModel).findBy({ cleaned_up: false }),
      this.dataSource.getRepository(RestoreExportReadModel).findBy({ cleaned_up: false }),
    ]);
    return new Set(rows.flat().map(({ backup_id }) => backup_id));
  }

  /** Compares what two histories of a policy's rules let expire. */
  async compare(policyId: string, before: readonly RetentionVersion[], after: readonly RetentionVersion[], now: number): Promise<RetentionEffect> {
    const [calendar, inUse] = [new RetentionCalendar(), await this.inUse()];
    const effect = { kept: 0, expiring: 0, newly_expiring: 0 };
    const shown: RetentionEffect['points'][number][] = [];
    for await (const points of this.groupsOf(policyId, inUse)) {
      const keptBefore = new Set(keptOf(decideRetention(points, before, now, calendar)));
      for (const [index, verdict] of decideRetention(points, after, now, calendar).entries()) {
        const point = points[index];
        if (verdict.decision === 'keep' || point === undefined) {
          effect.kept += 1;
          continue;
        }
        effect.expiring += 1;
        if (!keptBefore.has(verdict.backup_id)) continue;
        effect.newly_expiring += 1;
        if (shown.length < MOST_SHOWN) shown.push({ ...point, reasons: verdict.reasons });
      }
    }
    return { ...effect, points: shown };
  }

  /** The restore points that a policy has made, VM by VM. */
  private async *groupsOf(policyId: string, inUse: ReadonlySet<string>): AsyncGenerator<readonly PolicyPoint[]> {
    const vmIds = await this.vmsOf(policyId);
    for (let at = 0; at < vmIds.length; at += VMS_AT_ONCE) {
      const where = { policy_id: policyId, vm_id: In(vmIds.slice(at, at + VMS_AT_ONCE)), status: 'completed' as const };
      const rows = await this.dataSource.getRepository(BackupReadModel).find({ select: COLUMNS, where, order: { created_position: 'ASC' } });
      for (const group of Map.groupBy(rows, ({ vm_id }) => vm_id).values()) yield group.map((row) => pointOf(row, inUse));
    }
  }
}

function keptOf(verdicts: readonly RetentionVerdict[]): readonly string[] {
  return verdicts.filter(({ decision }) => decision === 'keep').map(({ backup_id }) => backup_id);
}

/** @param awaited those that wait to be copied */
export function pointOf(row: PointRow, inUse: ReadonlySet<string>, awaited: ReadonlySet<string> = NONE): PolicyPoint {
  const { backup_id, vm_id, vm_name, policy_version, instant, completed_at, damage, tiers, pin, hold, expiry, locked_until } = row;
  return {
    backup_id,
    vm_id,
    vm_name,
    expiry,
    // Hubs up to version 0.1.0 may have stored instants that the column cannot hold.
    at: (instant ?? completed_at ?? new Date(0)).getTime(),
    good: damage === null,
    tiers: tiers ?? [],
    policy_version,
    locked_until: locked_until?.getTime() ?? null,
    protections: [
      ...(pin === null ? [] : (['pinned'] as const)),
      ...(hold === null ? [] : (['held'] as const)),
      ...(awaited.has(backup_id) ? (['awaited_by_copy'] as const) : []),
      ...(inUse.has(backup_id) ? (['in_use'] as const) : []),
    ],
  };
}
