import type { CommandContext } from '../../../../kernel/command-context.js';
import type { RestorePointDamaged } from './chain.events.js';

/** Adds a sealed restore point at the head of its chain; a full starts the chain. */
export class RecordRestorePoint {
  constructor(
    readonly chainId: string,
    readonly vmId: string,
    readonly repositoryId: string,
    readonly backupId: string,
    /** null: a full. */
    readonly parentBackupId: string | null,
    readonly context: CommandContext,
  ) {}
}

/** Removes the newest restore point from its chain. @throws DomainError `restore_point_in_use` while later ones depend on it */
export class RemoveRestorePoint {
  constructor(
    readonly chainId: string,
    readonly backupId: string,
    readonly context: CommandContext,
  ) {}
}

export interface DamageFinding {
  readonly code: RestorePointDamaged['data']['code'];
  readonly detail: string;
  /** Relative to the repository; null: the damage concerns the restore point as a whole. */
  readonly file: string | null;
  /** null: something other than a verification found it. */
  readonly verification_id: string | null;
}

/** What a defect of a restore point, as its finder names it, means to the restore points that depend on it. */
export function damageCodeOf(defect: string): DamageFinding['code'] {
  if (defect === 'restore_point_missing' || defect === 'file_missing') return 'parent_missing';
  return defect === 'file_truncated' ? 'parent_truncated' : 'parent_altered';
}

/** Records that a restore point's files differ from what was sealed. */
export class MarkRestorePointDamaged {
  constructor(
    readonly chainId: string,
    readonly backupId: string,
    readonly finding: DamageFinding,
    readonly context: CommandContext,
  ) {}
}
