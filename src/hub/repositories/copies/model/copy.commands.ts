import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import type { HealedFile } from '../../../../kernel/healed-file.js';
import type { Position } from '../../../../kernel/position.js';

/**
 * Copies a restore point into another repository.
 * @throws DomainError backup_not_found, backup_not_copyable, repository_not_found, copy_target_is_source, copy_exists
 */
export class RequestCopy extends Command<RequestedCopy> {
  constructor(
    readonly backupId: string,
    readonly repositoryId: string,
    /** Whether restore points that it depends on, and that have no copy there, are copied first; else the copy is flattened. */
    readonly withParents: boolean,
    /** The policy whose rule asks for the copy; null: a person does. */
    readonly policyId: string | null,
    /** Bytes per second at most; null: not limited. */
    readonly bandwidthLimitBps: number | null,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type RequestedCopy = { readonly copy_id: string; readonly position: Position | null };

/** Stops a copy; everything that it wrote is removed. @throws DomainError copy_not_found, copy_already_ended */
export class CancelCopy extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly copyId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Deletes a copy and its files. The restore point it was copied from stays. @throws DomainError copy_not_found, copy_not_ended, copy_in_use, copy_locked, copy_not_expired */
export class DeleteCopy extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly copyId: string,
    readonly context: CommandContext,
    /** Refused unless the copy has expired and its grace period has ended. */
    readonly onlyExpired = false,
  ) {
    super();
  }
}

/** What the retention of a policy's rule found about a copy. */
export type CopyFinding =
  | { readonly kind: 'expire'; readonly policy_id: string; readonly policy_version: number; readonly reasons: readonly ExpiryReason[] }
  | { readonly kind: 'withdraw_expiry'; readonly kept_by: readonly string[] };

/** Records what is news about a copy. @returns whether it was news */
export class RecordCopyRetention extends Command<boolean> {
  constructor(
    readonly copyId: string,
    readonly finding: CopyFinding,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Records that a file of a copy differs from what was copied. Does nothing if the copy is known to be damaged, or if there is none. */
export class MarkCopyDamaged extends Command<void> {
  constructor(
    readonly backupId: string,
    /** The repository that holds the copy. */
    readonly repositoryId: string,
    readonly damage: {
      readonly code: 'file_missing' | 'file_truncated' | 'file_altered';
      readonly file: string | null;
      readonly detail: string;
      readonly ranges?: readonly { readonly offset_bytes: number; readonly length_bytes: number }[];
      readonly verification_id?: string;
    },
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Records that a verification has read all files of a copy and found them sound. Does nothing if there is no such copy. */
export class RecordCheckedCopy extends Command<void> {
  constructor(
    readonly backupId: string,
    /** The repository that holds the copy. */
    readonly repositoryId: string,
    readonly verificationId: string,
    /** What the verification wrote again, so that a damage that was known is over; null: it was not to heal, and a known damage stays. */
    readonly healed: readonly HealedFile[] | null,
    readonly context: CommandContext,
  ) {
    super();
  }
}
