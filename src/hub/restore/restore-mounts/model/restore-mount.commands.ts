import type { CommandContext } from '../../../../kernel/command-context.js';
import type { MountReady, MountRequested, UnmountReason } from './restore-mount.events.js';

/**
 * Mounts one disk of a restore point for browsing. The result is a MountOutcome. Its id derives from the command's id, so a repeated command mounts nothing
 * twice.
 * @throws DomainError backup_not_found, disk_not_found, restore_point_not_ready, restore_point_deleted, restore_point_damaged, disk_already_mounted,
 * mount_slots_exhausted, repository_unavailable, and those of BringUpMount
 */
export class RequestMount {
  constructor(
    readonly backupId: string,
    readonly diskIndex: number,
    readonly partition: number | null,
    readonly allowDamaged: boolean,
    readonly context: CommandContext,
  ) {}
}

export interface MountOutcome {
  readonly request: MountRequested['data'];
  readonly mount: MountReady['data'];
  readonly expires_at: string;
  readonly position: string | null;
}

/**
 * Performs the mount recorded by MountRequested, unless that is done. The result is a MountOutcome.
 * @throws DomainError with the code of MountFailed; mount_released when it was unmounted in the meantime
 */
export class BringUpMount {
  constructor(
    readonly mountId: string,
    readonly context: CommandContext,
  ) {}
}

/** Unmounts, even while mounting is in progress. The result is the position of the last event. @throws DomainError mount_not_found, mount_not_removed */
export class ReleaseMount {
  constructor(
    readonly mountId: string,
    readonly reason: UnmountReason,
    /** Explanation for humans; null if the reason suffices. */
    readonly detail: string | null,
    readonly context: CommandContext,
  ) {}
}

/**
 * Uses a mount, which extends its deadline. The result is a MountAccess.
 * @throws DomainError mount_not_found, mount_not_ready, mount_failed, mount_expired, mount_released
 */
export class AccessMount {
  constructor(
    readonly mountId: string,
    readonly correlationId: string,
  ) {}
}

export interface MountAccess {
  readonly mount_path: string;
  readonly backup_id: string;
  readonly vm_name: string;
  readonly disk_index: number;
}

/** Records that a call to a mounted file system was abandoned at its deadline. */
export class ReportAbandonedCall {
  constructor(
    readonly mountId: string,
    readonly operation: string,
    readonly detail: string,
    readonly correlationId: string,
  ) {}
}

/** Removes expired, broken and orphaned mounts. The result is a SweepReport. */
export class SweepMounts {}

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
