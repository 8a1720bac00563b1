import type { CommandContext } from '../../../../kernel/command-context.js';
import type { MountReady, MountRequested, UnmountReason } from './restore-mount.events.js';

/**
 * Mount one disk of a restore point for browsing. The result is a MountOutcome; its id derives from the command's, so that repeating it mounts nothing twice.
 * @throws DomainError backup_not_found, disk_not_found, restore_point_not_ready, restore_point_deleted, restore_point_damaged, disk_already_mounted,
 * mount_slots_exhausted, repository_unavailable, and what BringUpMount throws
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
 * Does what a MountRequested asks for, unless that is done. The result is a MountOutcome.
 * @throws DomainError with the code of MountFailed; mount_released when it was taken down meanwhile
 */
export class BringUpMount {
  constructor(
    readonly mountId: string,
    readonly context: CommandContext,
  ) {}
}

/** Take a mount down, also one that is just coming about. The result is the position of its end. @throws DomainError mount_not_found, mount_not_removed */
export class ReleaseMount {
  constructor(
    readonly mountId: string,
    readonly reason: UnmountReason,
    /** Why, for people; null where the reason says it all. */
    readonly detail: string | null,
    readonly context: CommandContext,
  ) {}
}

/**
 * Use a mount, which extends its deadline. The result is a MountAccess.
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

/** Record that a call on a mounted file system was given up at its deadline. */
export class ReportAbandonedCall {
  constructor(
    readonly mountId: string,
    readonly operation: string,
    readonly detail: string,
    readonly correlationId: string,
  ) {}
}

/** Take down what is expired, broken or nobody's. The result is a SweepReport. */
export class SweepMounts {}

export interface SweepReport {
  readonly mounts_checked: number;
  readonly expired: number;
  /** Mounts whose process or file system had gone. */
  readonly broken: number;
  /** Remains of mounts that had ended before. */
  readonly orphans: number;
  /** What could not be taken down, in words. */
  readonly failures: readonly string[];
}
