import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { HealedFile } from '../../../../kernel/healed-file.js';
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
    /** Whether its files were rewritten, as an imported restore point's may be. */
    readonly rewritten: boolean = false,
    /** Until when it is locked, ISO 8601 in UTC; null: it is not locked. */
    readonly lockedUntil: string | null = null,
  ) {}
}

/** Removes a restore point from its chain. @throws DomainError `restore_point_in_use` while others depend on it */
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

/** Records that the files of a restore point that was damaged are sound again. Does nothing if its own files are not known to be damaged. */
export class MarkRestorePointHealed {
  constructor(
    readonly chainId: string,
    readonly backupId: string,
    readonly healing: {
      readonly repository_id: string;
      readonly files: readonly HealedFile[];
      readonly verification_id: string;
      readonly healed_at: string;
    },
    readonly context: CommandContext,
  ) {}
}

/** One step of a plan of pruning; see storage/pruning/prune-chains.plan.ts. */
export interface PlannedStep {
  readonly kind: 'drop' | 'flatten' | 'absorb';
  readonly backup_id: string;
  /** Its parent after an absorb; null otherwise. */
  readonly parent_backup_id: string | null;
  readonly merged: readonly string[];
  readonly read_bytes: number;
  readonly write_bytes: number;
  readonly free_bytes: number;
}

export interface ChainPruning {
  readonly chain_id: string;
  readonly repository_id: string;
  readonly steps: readonly PlannedStep[];
  readonly left: readonly { readonly backup_id: string; readonly needed_by: string }[];
  readonly read_bytes: number;
  readonly write_bytes: number;
  readonly needed_bytes: number;
  readonly free_bytes: number;
}

/**
 * Removes restore points of a VM, also from the middle of a chain. Those that stay keep their content.
 * @throws DomainError vm_not_found, backup_not_found, restore_point_not_ready, restore_point_not_in_chain, prune_needs_space, repository_unavailable
 */
export class PruneChains extends Command<{ readonly chains: readonly ChainPruning[]; readonly position: Position | null }> {
  constructor(
    readonly vmId: string,
    /** Backup ids. */
    readonly remove: readonly string[],
    /** Only plan. */
    readonly dryRun: boolean,
    readonly context: CommandContext,
    /** A restore point whose expiry is taken back meanwhile stays. */
    readonly onlyExpired = false,
  ) {
    super();
  }
}
