import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { RestoreFormat, RestoreShape } from './restore-job.events.js';

export interface WantedRestore {
  readonly backupId: string;
  /** See WantedPlace. */
  readonly repositoryId: string | null;
  /** null: all disks. */
  readonly disks: readonly number[] | null;
  readonly targetPath: string;
  readonly format: RestoreFormat;
  readonly chain: RestoreShape;
  readonly overwrite: boolean;
  readonly allowDamaged: boolean;
}

/**
 * Restores disks of a restore point to a directory of the hub. Answers once the job is recorded.
 * @throws DomainError backup_not_found, backup_not_restorable, restore_point_damaged, restore_disk_not_found, restore_chain_needs_qcow2, target_*,
 * repository_unavailable
 */
export class StartRestore extends Command<StartedRestore> {
  constructor(
    readonly wanted: WantedRestore,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type StartedRestore = { readonly job_id: string; readonly position: string | null };

/** Cancels a running restore and removes the files it has written. @throws DomainError restore_job_not_found, restore_job_already_ended */
export class CancelRestore extends Command<Position | null> {
  constructor(
    readonly jobId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}
