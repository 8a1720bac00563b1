import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeChangeIdProblem } from '../../../../contract/words.js';
import type { BackupType, FullReason, RequestedBackupType } from './backup.events.js';

/** A disk as it is at the source now. */
export type SourceDisk = {
  readonly disk_id: number;
  readonly disk_key: string;
  readonly size_bytes: number;
  readonly format: string;
  readonly change_tracking: boolean;
  readonly change_ids: readonly string[];
  readonly broken_change_ids: readonly string[];
  /** Change ids that the source knows to be invalid, with the reasons. */
  readonly change_id_problems?: readonly { readonly change_id: string; readonly code: NodeChangeIdProblem; readonly detail: string }[];
};

/** A disk as it is in the chain's newest restore point. */
export type ParentDisk = {
  readonly disk_key: string;
  readonly size_bytes: number;
  /** Relative to the repository. */
  readonly file: string;
  readonly change_id: string | null;
};

export type ParentPoint = {
  readonly backup_id: string;
  readonly chain_id: string;
  /** Number of restore points in the chain so far. */
  readonly chain_length: number;
  readonly disks: readonly ParentDisk[];
};

export type ParentFacts =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'damaged';
      readonly backup_id: string;
      readonly chain_id: string;
      readonly code: 'parent_missing' | 'parent_truncated' | 'parent_altered';
      readonly detail: string;
      /** Relative to the repository; null if the damage was found earlier. */
      readonly file: string | null;
    }
  | { readonly kind: 'sound'; readonly point: ParentPoint };

export type BackupTypeDecision =
  | { readonly backup_type: Extract<BackupType, 'full'>; readonly reason: FullReason; readonly detail: string | null }
  | { readonly backup_type: Extract<BackupType, 'incremental'>; readonly parent: ParentPoint };

export type BackupTypeQuestion = {
  readonly requested: RequestedBackupType;
  readonly vm_name: string;
  readonly disks: readonly SourceDisk[];
  readonly parent: ParentFacts;
  /** Whether an incremental may include a whole copy of a disk that the parent does not have. If not, such a disk makes the run a full. */
  readonly new_disks_join: boolean;
  readonly max_chain_length: number;
};

/**
 * Chooses between full and incremental, from facts alone. The first obstacle to an incremental turns `auto` into a full with that reason.
 * @throws DomainError `incremental_impossible` (conflict) if an incremental was requested and is not possible
 */
export function decideBackupType(question: BackupTypeQuestion): BackupTypeDecision {
  if (question.requested === 'full') return { backup_type: 'full', reason: 'requested', detail: null };
  const verdict = obstacleToIncremental(question);
  if ('parent' in verdict) return { backup_type: 'incremental', parent: verdict.parent };
  if (question.requested === 'auto') return { backup_type: 'full', reason: verdict.reason, detail: verdict.detail };
  throw new DomainError(
    'conflict',
    'incremental_impossible',
    `An incremental backup of VM "${question.vm_name}" is not possible: ${verdict.detail} Ask for "auto" or "full" instead.`,
    { reason: verdict.reason, vm_name: question.vm_name },
  );
}

function obstacleToIncremental(question: BackupTypeQuestion): { reason: FullReason; detail: string } | { parent: ParentPoint } {
  const { disks, parent } = question;
  if (parent.kind === 'none') return { reason: 'first_backup', detail: 'The VM has no restore point in this repository.' };
  if (parent.kind === 'damaged') return { reason: parent.code, detail: parent.detail };
  const point = parent.point;
  const parents = new Map(point.disks.map((disk) => [disk.disk_key, disk]));
  for (const disk of disks) {
    if (parents.has(disk.disk_key) || (question.new_disks_join && disk.change_tracking)) continue;
    return { reason: 'disk_added', detail: `Disk "${disk.disk_key}" was added since the last backup.` };
  }
  const now = new Set(disks.map((disk) => disk.disk_key));
  for (const disk of point.disks) {
    if (!now.has(disk.disk_key)) return { reason: 'disk_removed', detail: `Disk "${disk.disk_key}" was removed since the last backup.` };
  }
  for (const disk of disks) {
    const before = parents.get(disk.disk_key);
    if (before === undefined) continue;
    if (before.size_bytes !== disk.size_bytes) {
      return {
        reason: 'disk_resized',
        detail: `Disk "${disk.disk_key}" was resized from ${before.size_bytes} to ${disk.size_bytes} bytes since the last backup.`,
      };
    }
    if (!disk.change_tracking) {
      return { reason: 'no_change_tracking', detail: `Disk "${disk.disk_key}" has the format ${disk.format}, in which changes cannot be tracked.` };
    }
    if (before.change_id === null || !disk.change_ids.includes(before.change_id)) {
      const known = disk.change_id_problems?.find((problem) => problem.change_id === before.change_id);
      if (known !== undefined) return { reason: known.code, detail: known.detail };
      const broken = before.change_id !== null && disk.broken_change_ids.includes(before.change_id);
      return {
        reason: 'change_id_lost',
        detail: broken
          ? `The change id of disk "${disk.disk_key}" is inconsistent, because its image was not closed cleanly.`
          : `The change id of disk "${disk.disk_key}" no longer exists at the source.`,
      };
    }
  }
  if (point.chain_length >= question.max_chain_length) {
    return { reason: 'chain_too_long', detail: `The chain has ${point.chain_length} restore points; ${question.max_chain_length} are allowed.` };
  }
  return { parent: point };
}
