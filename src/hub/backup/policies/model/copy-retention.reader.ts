import { Injectable } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { type CopyingPolicy, decideCopyRetention, type StandingCopy } from './copy-retention.plan.js';
import { RetentionCalendar } from './retention.plan.js';
import { COLUMNS, pointOf, RETENTION_READ_MODELS, RetentionReader } from './retention.reader.js';

/** What the methods read. */
export const COPY_RETENTION_READ_MODELS = ['copies', ...RETENTION_READ_MODELS] as const;

const COPY_COLUMNS = {
  copy_id: true,
  backup_id: true,
  vm_id: true,
  repository_id: true,
  policy_id: true,
  status: true,
  parent_backup_id: true,
  damage: true,
  locked_until: true,
  expiry: true,
} as const;
/** So many VMs are read at once. */
const VMS_AT_ONCE = 200;

/** A copy that is a restore point, or is about to become one. */
export type CopyOfVm = StandingCopy & Pick<CopyReadModel, 'vm_id' | 'status' | 'policy_id' | 'parent_backup_id' | 'expiry'>;

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

  /** Of these VMs, oldest first. */
  async standingOf(...vmIds: readonly string[]): Promise<readonly CopyOfVm[]> {
    const where = { vm_id: In(vmIds), status: In(['pending', 'running', 'completed']) };
    const copies = await this.dataSource.getRepository(CopyReadModel).find({ select: COPY_COLUMNS, where, order: { created_position: 'ASC' } });
    const sources = { backup_id: In([...new Set(copies.map(({ backup_id }) => backup_id))]) };
    const backups = await this.dataSource.getRepository(BackupReadModel).find({ select: COLUMNS, where: sources });
    const [byId, inUse] = [new Map(backups.map((backup) => [backup.backup_id, backup])), await this.points.inUse()];
    return copies.flatMap(({ damage, locked_until, ...copy }) => {
      const backup = byId.get(copy.backup_id);
      return backup === undefined ? [] : [{ ...pointOf({ ...backup, damage, locked_until }, inUse), ...copy }];
    });
  }

  /** How many copies of a policy would expire after an edit that are kept before it. */
  async newlyExpiring(policyId: string, before: CopyingPolicy, after: CopyingPolicy, now: number): Promise<number> {
    // Without one, nothing expires.
    if ((after?.settings.copies ?? []).every(({ retention = null }) => retention === null)) return 0;
    const [calendar, vmIds] = [new RetentionCalendar(), await this.vmsOf(policyId)];
    let count = 0;
    for (let at = 0; at < vmIds.length; at += VMS_AT_ONCE) {
      const made = madeBy(await this.standingOf(...vmIds.slice(at, at + VMS_AT_ONCE)), policyId);
      for (const ofVm of Map.groupBy(made, ({ vm_id }) => vm_id).values()) {
        for (const [repositoryId, copies] of byRepository(ofVm)) {
          const verdictsBefore = decideCopyRetention(copies, before, repositoryId, now, calendar);
          const verdictsAfter = decideCopyRetention(copies, after, repositoryId, now, calendar);
          count += verdictsAfter.filter(({ decision }, index) => decision === 'expire' && verdictsBefore[index]?.decision === 'keep').length;
        }
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
