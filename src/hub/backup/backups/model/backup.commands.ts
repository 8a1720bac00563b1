import type { CommandContext } from '../../../../kernel/command-context.js';
import type { NodeJobReport } from '../../../../contract/node-api.js';
import type { BackupOptions, RequestedBackupType, RestorePointImported } from './backup.events.js';

/** Ask for a backup of one VM, all disks, into one repository. Exactly one of vm_id and vm_name is given. */
export class StartBackup {
  constructor(
    readonly vm: { readonly vm_id: string } | { readonly vm_name: string },
    readonly repositoryId: string,
    readonly backupType: RequestedBackupType,
    readonly policyId: string | null,
    readonly options: BackupOptions,
    readonly context: CommandContext,
  ) {}
}

/** Stop a pending or running backup and undo it. */
export class CancelBackup {
  constructor(
    readonly backupId: string,
    readonly context: CommandContext,
  ) {}
}

/** Give up a restore point and remove its files. */
export class DeleteBackup {
  constructor(
    readonly backupId: string,
    readonly context: CommandContext,
  ) {}
}

/** The node's account of a backup's transfer, pushed by the node or fetched from it. */
export class RecordTransferReport {
  constructor(
    readonly report: NodeJobReport,
    readonly context: CommandContext,
    /** Whose word it is: an enrolled node's that has shown who it is, or that of one of those which share a token (null). Left out where the hub has asked itself. */
    readonly told?: { readonly by: string | null },
  ) {}
}

/**
 * Takes over a restore point that another hub has made. Answers with {imported, position}; imported is false when it was known already.
 * @throws DomainError backup_already_known when it is known, but not as a restore point in that place
 */
export class ImportRestorePoint {
  constructor(
    readonly data: RestorePointImported['data'],
    readonly context: CommandContext,
  ) {}
}
