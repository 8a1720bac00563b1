import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import type { Position } from '../../../../kernel/position.js';
import type { NodeJobReport } from '../../../../contract/backup-job.js';
import type { BackupOptions, RequestedBackupType, RestorePointImported, Tier } from './backup.events.js';

/** Request a backup of one VM, with all its disks, to one repository. Exactly one of vm_id and vm_name is given. */
export class StartBackup extends Command<string> {
  constructor(
    readonly vm: { readonly vm_id: string } | { readonly vm_name: string },
    readonly repositoryId: string,
    readonly backupType: RequestedBackupType,
    /** The policy that the backup is for; version null: the current one. null: none. */
    readonly policy: { readonly policy_id: string; readonly version: number | null } | null,
    readonly options: BackupOptions,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Stop a pending or running backup and undo it. */
export class CancelBackup extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly backupId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Delete a restore point and its files. */
export class DeleteBackup extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly backupId: string,
    readonly context: CommandContext,
    /** Refused unless the restore point has expired and its grace period has ended. */
    readonly onlyExpired = false,
  ) {
    super();
  }
}

/** Pin, unpin, hold or release a restore point. @throws DomainError backup_not_found, not_a_restore_point */
export class ProtectRestorePoint extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly backupId: string,
    readonly change: 'pin' | 'unpin' | 'hold' | 'release',
    readonly reason: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** What the retention of a policy found about one of its restore points. */
export type RetentionFinding =
  | { readonly kind: 'assign_tiers'; readonly policy_id: string; readonly time_zone: string; readonly tiers: readonly Tier[] }
  | { readonly kind: 'expire'; readonly policy_id: string; readonly policy_version: number; readonly reasons: readonly ExpiryReason[] }
  | { readonly kind: 'defer_removal'; readonly needed_by: readonly string[] }
  | { readonly kind: 'withdraw_expiry'; readonly kept_by: readonly string[] };

/** Records a finding; answers whether it was news. */
export class RecordRetention extends Command<boolean> {
  constructor(
    readonly backupId: string,
    readonly finding: RetentionFinding,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** The node's report on a backup's transfer, pushed by the node or fetched from it. */
export class RecordTransferReport {
  constructor(
    readonly report: NodeJobReport,
    readonly context: CommandContext,
    /** The enrolled node that sent the report; null for nodes that share the local token. Omitted if the hub fetched the report itself. */
    readonly told?: { readonly by: string | null },
  ) {}
}

/**
 * Imports a restore point that another hub has made. `imported` is false if the restore point was already known.
 * @throws DomainError backup_already_known if the backup is known, but not as a restore point in that place
 */
export class ImportRestorePoint extends Command<{ readonly imported: boolean; readonly position: Position | null }> {
  constructor(
    readonly data: RestorePointImported['data'],
    readonly context: CommandContext,
  ) {
    super();
  }
}
