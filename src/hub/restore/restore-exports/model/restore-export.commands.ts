import type { CommandContext } from '../../../../kernel/command-context.js';
import type { RestoreExportMode } from './restore-export.events.js';

/**
 * Publishes a disk of a restore point over NBD. Answers with {export_id, position} once clients can connect.
 * @throws DomainError backup_not_found, backup_not_restorable, restore_point_damaged, restore_disk_not_found, repository_unavailable; afterwards the cause of its failure
 */
export class StartRestoreExport {
  constructor(
    readonly backupId: string,
    readonly diskIndex: number,
    readonly mode: RestoreExportMode,
    readonly allowDamaged: boolean,
    readonly context: CommandContext,
    /** What it is for: then it has no deadline, and only its holder may end it. null: a user's own. */
    readonly heldBy: string | null = null,
  ) {}
}

/** Name in an id derivation: the same command asks for the same export. */
export function restoreExportIdName(commandId: string): string {
  return `restore-export/${commandId}`;
}

export type StartedRestoreExport = { readonly export_id: string; readonly position: string | null };

/** Ends an export; what was written to it is gone. Answers with the position of its newest event. @throws DomainError restore_export_not_found, restore_export_held */
export class EndRestoreExport {
  constructor(
    readonly exportId: string,
    readonly context: CommandContext,
    readonly heldBy: string | null = null,
  ) {}
}
