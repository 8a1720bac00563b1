import type { CommandContext } from '../../../../kernel/command-context.js';
import type { RestorePointDamaged } from './chain.events.js';

/** Puts a sealed restore point at the head of its chain; a full opens the chain. */
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

/** Takes the newest restore point off its chain. @throws DomainError `restore_point_in_use` while later ones stand on it */
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
  /** Relative to the repository; null: the restore point as a whole. */
  readonly file: string | null;
  /** null: not found by a verification. */
  readonly verification_id: string | null;
}

/** Notes that a restore point's files are no longer what was sealed. */
export class MarkRestorePointDamaged {
  constructor(
    readonly chainId: string,
    readonly backupId: string,
    readonly finding: DamageFinding,
    readonly context: CommandContext,
  ) {}
}
