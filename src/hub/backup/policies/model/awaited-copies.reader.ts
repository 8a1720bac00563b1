import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { CopyRule } from './policy.events.js';

export const AWAITED_COPIES_READ_MODELS = ['backups', 'copies'] as const;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** A restore point that still has no copy by then gets none, and is no longer kept for it. */
const PATIENCE_MS = 14 * DAY_MS;
/** After a copy has failed. */
const RETRY_MS = HOUR_MS;

export interface AwaitedCopy {
  readonly backup_id: string;
  /** How many copies of it have failed. */
  readonly failures: number;
}

/** Looks up the restore points that the rules of policies want copied, and that have no copy. */
@Injectable()
export class AwaitedCopiesReader {
  constructor(private readonly dataSource: DataSource) {}

  /** Those to be copied now: without a copy under way, and without one that failed just now. Oldest first. */
  async due(policyId: string, rule: CopyRule, now: number, most: number): Promise<readonly AwaitedCopy[]> {
    return this.dataSource.query<AwaitedCopy[]>(
      `select backup.backup_id, count(failed.copy_id)::integer as failures
         from backups backup
         left join copies failed on failed.backup_id = backup.backup_id and failed.repository_id = $3 and failed.status = 'failed'
        where ${WANTED}
          and not exists (select from copies copy where copy.backup_id = backup.backup_id and copy.repository_id = $3
                             and (copy.status <> 'failed' or copy.ended_at > $5))
        group by backup.backup_id, backup.completed_at
        order by backup.completed_at
        limit $6`,
      [...wanted(policyId, rule, now), new Date(now - RETRY_MS), most],
    );
  }

  /** How many copies of the policy are under way there. */
  async underWay(policyId: string, rule: CopyRule): Promise<number> {
    const [row] = await this.dataSource.query<{ count: number }[]>(
      `select count(*)::integer as count from copies where repository_id = $1 and policy_id = $2 and status in ('pending', 'running')`,
      [rule.repository_id, policyId],
    );
    return row?.count ?? 0;
  }

  /** Restore points of one VM that a rule still waits to have copied. */
  async awaiting(policyId: string, rules: readonly CopyRule[], vmId: string, now: number): Promise<ReadonlySet<string>> {
    const found = await Promise.all(
      rules.map((rule) =>
        this.dataSource.query<{ backup_id: string }[]>(`select backup.backup_id from backups backup where ${WANTED} and ${UNSETTLED} and backup.vm_id = $5`, [
          ...wanted(policyId, rule, now),
          vmId,
        ]),
      ),
    );
    return new Set(found.flat().map(({ backup_id }) => backup_id));
  }

  /** How many restore points have waited for their copy for longer than this, in milliseconds. */
  async late(policyId: string, rule: CopyRule, now: number, longerThanMs: number): Promise<number> {
    const [row] = await this.dataSource.query<{ count: number }[]>(
      `select count(*)::integer as count from backups backup where ${WANTED} and ${UNSETTLED} and backup.completed_at < $5`,
      [...wanted(policyId, rule, now), new Date(now - longerThanMs)],
    );
    return row?.count ?? 0;
  }
}

/** Good restore points of a policy that a rule covers. */
const WANTED = `backup.policy_id = $1 and backup.status = 'completed' and backup.damage is null and backup.completed_at > $2
  and backup.repository_id <> $3 and ($4::jsonb is null or backup.tiers @> $4::jsonb)`;
/** Cancelled and deleted copies are not made again. */
const UNSETTLED = `not exists (select from copies copy where copy.backup_id = backup.backup_id and copy.repository_id = $3
  and copy.status in ('completed', 'cancelled', 'deleted'))`;

/** Parameters of WANTED. */
function wanted(policyId: string, { repository_id, which }: CopyRule, now: number): readonly (string | Date | null)[] {
  return [policyId, new Date(now - PATIENCE_MS), repository_id, which === 'every' ? null : JSON.stringify([which])];
}
