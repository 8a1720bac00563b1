import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { CopyRow } from '../../../../../projections/copies/copies.read-model.js';
import type { Tier } from '../../backups/model/backup.events.js';
import { type CopyingPolicy, decideCopyRetention, type StandingCopy } from './copy-retention.plan.js';
import { RetentionCalendar } from './retention.plan.js';
import { RETENTION_READ_MODELS, RetentionReader } from './retention.reader.js';

/** What the methods read. */
export const COPY_RETENTION_READ_MODELS = ['copies', ...RETENTION_READ_MODELS] as const;

/** A copy that is a restore point, or is about to become one. */
export type CopyOfVm = StandingCopy & Pick<CopyRow, 'status' | 'policy_id' | 'parent_backup_id' | 'expiry'>;

type FoundCopy = Pick<CopyRow, 'copy_id' | 'backup_id' | 'repository_id' | 'policy_id' | 'status' | 'parent_backup_id' | 'expiry'> & {
  readonly at: Date | null;
  readonly good: boolean;
  readonly tiers: readonly Tier[] | null;
  readonly locked_until: Date | null;
  readonly pinned: boolean;
  readonly held: boolean;
};

/** Looks up the copies that the retentions of rules decide about. */
@Injectable()
export class CopyRetentionReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly points: RetentionReader,
  ) {}

  /** The VMs of which policies, which may have been deleted, have complete copies. @param policyId only of this one */
  async vmsOf(policyId: string | null = null): Promise<readonly string[]> {
    const rows = await this.dataSource.query<{ vm_id: string }[]>(
      `select distinct vm_id from copies where status = 'completed' and policy_id is not null and ($1::text is null or policy_id = $1)`,
      [policyId],
    );
    return rows.map(({ vm_id }) => vm_id);
  }

  /** The VM of a copy or of a restore point; null: not known. */
  async vmOf(kind: 'copy' | 'backup', id: string): Promise<string | null> {
    const [row] = await this.dataSource.query<{ vm_id: string }[]>(`select vm_id from copies where ${kind}_id = $1 limit 1`, [id]);
    return row?.vm_id ?? null;
  }

  /** Oldest first. */
  async standingOf(vmId: string): Promise<readonly CopyOfVm[]> {
    const inUse = await this.points.inUse();
    const rows = await this.dataSource.query<FoundCopy[]>(
      `select copy.copy_id, copy.backup_id, copy.repository_id, copy.policy_id, copy.status, copy.parent_backup_id, copy.expiry, copy.locked_until,
              copy.damage is null as good, coalesce(backup.instant, backup.completed_at) as at, backup.tiers,
              backup.pin is not null as pinned, backup.hold is not null as held
         from copies copy join backups backup on backup.backup_id = copy.backup_id
        where copy.vm_id = $1 and copy.status in ('pending', 'running', 'completed')
        order by copy.created_position`,
      [vmId],
    );
    return rows.map(({ at, tiers, locked_until, pinned, held, ...row }) => ({
      ...row,
      at: (at ?? new Date(0)).getTime(),
      tiers: tiers ?? [],
      locked_until: locked_until?.getTime() ?? null,
      protections: [...(pinned ? (['pinned'] as const) : []), ...(held ? (['held'] as const) : []), ...(inUse.has(row.backup_id) ? (['in_use'] as const) : [])],
    }));
  }

  /** How many copies of a policy would expire after an edit that are kept before it. */
  async newlyExpiring(policyId: string, before: CopyingPolicy, after: CopyingPolicy, now: number): Promise<number> {
    const calendar = new RetentionCalendar();
    let count = 0;
    for (const vmId of await this.vmsOf(policyId)) {
      for (const [repositoryId, copies] of byRepository(madeBy(await this.standingOf(vmId), policyId))) {
        const verdictsBefore = decideCopyRetention(copies, before, repositoryId, now, calendar);
        const verdictsAfter = decideCopyRetention(copies, after, repositoryId, now, calendar);
        count += verdictsAfter.filter(({ decision }, index) => decision === 'expire' && verdictsBefore[index]?.decision === 'keep').length;
      }
    }
    return count;
  }
}

/** Complete copies that a policy had made. */
export function madeBy(copies: readonly CopyOfVm[], policyId: string): readonly CopyOfVm[] {
  return copies.filter(({ status, policy_id }) => status === 'completed' && policy_id === policyId);
}

export function byRepository(copies: readonly CopyOfVm[]): ReadonlyMap<string, readonly CopyOfVm[]> {
  return Map.groupBy(copies, ({ repository_id }) => repository_id);
}
