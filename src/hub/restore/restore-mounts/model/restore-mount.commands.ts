import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { MountReady, MountRequested } from './restore-mount.events.js';

/**
 * Mounts one disk of a restore point for browsing. Its id derives from the command's id, so a repeated command mounts nothing
 * twice.
 * @throws DomainError backup_not_found, disk_not_found, restore_point_not_ready, restore_point_deleted, restore_point_damaged, disk_already_mounted,
 * mount_slots_exhausted, repository_unavailable; the code of MountFailed; mount_released if it was unmounted in the meantime
 */
export class RequestMount extends Command<MountOutcome> {
  constructor(
    readonly backupId: string,
    readonly diskIndex: number,
    readonly partition: number | null,
    readonly allowDamaged: boolean,
    /** See WantedPlace. */
    readonly repositoryId: string | null,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export interface MountOutcome {
  readonly request: MountRequested['data'];
  readonly mount: MountReady['data'];
  readonly expires_at: string;
  readonly position: string | null;
}

/** Unmounts, even while mounting is in progress. Answers with the position of the last event. @throws DomainError mount_not_found, mount_not_removed */
export class ReleaseMount extends Command<Position | null> {
  constructor(
    readonly mountId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export interface MountAccess {
  readonly mount_path: string;
  readonly backup_id: string;
  readonly vm_name: string;
  readonly disk_index: number;
}

export interface SweepReport {
  readonly mounts_checked: number;
  readonly expired: number;
  /** Mounts whose process or file system had gone. */
  readonly broken: number;
  /** Remains of mounts that had already ended. */
  readonly orphans: number;
  /** Messages about mounts that could not be removed. */
  readonly failures: readonly string[];
}
