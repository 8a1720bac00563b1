import type { CommandContext } from '../../../../kernel/command-context.js';
import type { NodeJobReport } from '../../../../contract/node-api.js';
import type { BackupOptions, RequestedBackupType, RestorePointImported } from './backup.events.js';

/** Request a backup of one VM, with all its disks, to one repository. Exactly one of vm_id and vm_name is given. */
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

/** Delete a restore point and its files. */
export class DeleteBackup {
  constructor(
    readonly backupId: string,
    readonly context: CommandContext,
  ) {}
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
 * Imports a restore point that another hub has made. Returns {imported, position}; imported is false if the restore point was already known.
 * @throws DomainError backup_already_known if the backup is known, but not as a restore point in that place
 */
export class ImportRestorePoint {
  constructor(
    readonly data: RestorePointImported['data'],
    readonly context: CommandContext,
  ) {}
}
