import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { RestoreExportMode } from './restore-export.events.js';

/**
 * Publishes a disk of a restore point over NBD. Answers once clients can connect.
 * @throws DomainError backup_not_found, backup_not_restorable, restore_point_damaged, restore_disk_not_found, repository_unavailable; or the cause of a failed
 * start
 */
export class StartRestoreExport extends Command<StartedRestoreExport> {
  constructor(
    readonly backupId: string,
    readonly diskIndex: number,
    readonly mode: RestoreExportMode,
    readonly allowDamaged: boolean,
    readonly context: CommandContext,
    /** The holder: the export then has no deadline, and only its holder may end it. null: requested by a user. */
    readonly heldBy: string | null = null,
    /** See WantedPlace. */
    readonly repositoryId: string | null = null,
  ) {
    super();
  }
}

/** Name for the id derivation: a repeated command gets the same export. */
export function restoreExportIdName(commandId: string): string {
  return `restore-export/${commandId}`;
}

export type StartedRestoreExport = { readonly export_id: string; readonly position: string | null };

/**
 * Ends an export and discards the data written to it. Answers with the position of its newest event.
 * @throws DomainError restore_export_not_found, restore_export_held
 */
export class EndRestoreExport extends Command<Position | null> {
  constructor(
    readonly exportId: string,
    readonly context: CommandContext,
    readonly heldBy: string | null = null,
  ) {
    super();
  }
}
