import type { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';

export class CopyProblemResponse {
  /** @example "repository_unavailable" */ readonly code!: string;
  /** @example "The repository at \"/srv/copies\" cannot be used." */ readonly detail!: string;
}

export class CopyInterruptionResponse {
  /** @example "repository_unavailable" */ readonly code!: string;
  /** @example "The repository at \"/srv/copies\" cannot be used." */ readonly detail!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly since!: string;
}

export class CopyRangeResponse {
  /** From the start of the file @example 4194304 */ readonly offset_bytes!: number;
  /** @example 4194304 */ readonly length_bytes!: number;
}

export class HealedCopyFileResponse {
  /** Relative to the repository @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2" */ readonly file!: string;
  /** The repositories that the content came from @example ["0199a3c0-2b40-7d10-b1de-64f0a52c9e02"] */ readonly from_repository_ids!: readonly string[];
  /** @example 4194304 */ readonly healed_bytes!: number;
  /** The parts that came from there, at most the first 16 */ readonly ranges!: readonly CopyRangeResponse[];
}

export class CopyDamageResponse {
  readonly code!: 'file_missing' | 'file_truncated' | 'file_altered';
  /** Relative to the repository; null: the restore point as a whole @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2" */
  readonly file!: string | null;
  /** @example "disk-0.qcow2 has 100 bytes, 1074135040 were sealed" */ readonly detail!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly detected_at!: string;
  /** The damaged parts of the file, in blocks of 4 MiB, at most the first 16; empty if they are not known */
  readonly ranges!: readonly CopyRangeResponse[];
  /** The verification that found it; null: something else found it @example null */ readonly verification_id!: string | null;
}

/** The last time that damaged files of the copy were written again. */
export class HealedCopyResponse {
  /** What was written again, and from where; empty: the files were sound by themselves */ readonly files!: readonly HealedCopyFileResponse[];
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a31" */ readonly verification_id!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly healed_at!: string;
}

export class CopyExpiryReasonResponse {
  readonly rule!: 'keep_last' | 'keep_within' | 'keep_daily' | 'keep_weekly' | 'keep_monthly' | 'keep_yearly';
  /** `exceeded`: enough newer ones are kept, or it is too old; `not_first`: another one is the daily, weekly, ... of its period */
  readonly outcome!: 'exceeded' | 'not_first';
  /** The day, ISO week, month or year; null: the rule has no periods @example "2026-W47" */ readonly period!: string | null;
}

export class CopyExpiryResponse {
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** The version of the policy whose rules decided @example 1 */ readonly policy_version!: number;
  /** For each rule, why it does not keep the copy */ readonly reasons!: readonly CopyExpiryReasonResponse[];
  /** @example "2026-11-21T22:05:00.000Z" */ readonly expired_at!: string;
  /** Until then the files stay in any case, and longer while other copies depend on them @example "2026-11-22T22:05:00.000Z" */
  readonly grace_until!: string;
}

/** A copy of a restore point in another repository, as shown by every route of the API. */
export class CopyResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a41" */ readonly copy_id!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** Where it is copied from @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly source_repository_id!: string;
  /** Where the copy is @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */ readonly repository_id!: string;
  /** The policy whose rule asked for it; null: a person did @example null */ readonly policy_id!: string | null;
  readonly status!: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';
  /** `identical` in every byte, or `flattened` into a full because its parent has no copy there; null: not decided yet */
  readonly form!: 'identical' | 'flattened' | null;
  /** The restore point that the copy depends on, which has a copy in the same repository @example null */
  readonly parent_backup_id!: string | null;
  /** Folder of the copy in the repository @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11" */ readonly folder!: string | null;
  /** Bytes copied and read back, of twice total_bytes; null: nothing is transferred at the moment @example 1082331758 */
  readonly progress_bytes!: number | null;
  /** Length of the source's files @example 2147483648 */ readonly total_bytes!: number | null;
  /** Bytes written by the last attempt; null: not known yet @example 2147483648 */ readonly written_bytes!: number | null;
  /** Bytes that were at the target already with the right content @example 0 */ readonly kept_bytes!: number | null;
  /** Why it cannot continue now; it is tried again */ readonly interruption!: CopyInterruptionResponse | null;
  /** Why it failed */ readonly error!: CopyProblemResponse | null;
  /** Why the copy cannot be trusted; null: no damage is known */ readonly damage!: CopyDamageResponse | null;
  /** The copy is not deleted before, by the immutability of the repository that holds it; null: it is not locked @example null */
  readonly locked_until!: string | null;
  /** The retention of its policy's rule does not keep it; null: it has not expired */ readonly expiry!: CopyExpiryResponse | null;
  /** The last time that damage was healed; null: never @example null */ readonly healed!: HealedCopyResponse | null;
  /** When all of its files were last read and found sound, by a verification; null: not since it was copied @example "2026-11-22T03:00:00.000Z" */
  readonly checked_at!: string | null;
  /** That verification @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a31" */ readonly checked_by_verification_id!: string | null;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly requested_at!: string;
  /** When its files had been read back and compared @example null */ readonly verified_at!: string | null;
  /** When it ended, whatever the outcome @example null */ readonly ended_at!: string | null;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */ readonly position!: string;
}

/** @param progressBytes of a transfer that is under way */
export function toCopyResponse(copy: CopyReadModel, progressBytes: number | null = null): CopyResponse {
  return {
    copy_id: copy.copy_id,
    backup_id: copy.backup_id,
    vm_id: copy.vm_id,
    vm_name: copy.vm_name,
    source_repository_id: copy.source_repository_id,
    repository_id: copy.repository_id,
    policy_id: copy.policy_id,
    status: copy.status,
    form: copy.form,
    parent_backup_id: copy.parent_backup_id,
    folder: copy.folder,
    progress_bytes: progressBytes,
    total_bytes: numberOf(copy.total_bytes),
    written_bytes: numberOf(copy.written_bytes),
    kept_bytes: numberOf(copy.kept_bytes),
    interruption: copy.interruption,
    error: copy.error,
    damage: copy.damage,
    locked_until: copy.locked_until?.toISOString() ?? null,
    expiry: copy.expiry,
    healed: copy.healed,
    checked_at: copy.checked_at?.toISOString() ?? null,
    checked_by_verification_id: copy.checked_by_verification_id,
    requested_at: copy.requested_at.toISOString(),
    verified_at: copy.verified_at?.toISOString() ?? null,
    ended_at: copy.ended_at?.toISOString() ?? null,
    position: copy.position,
  };
}

function numberOf(bytes: string | null): number | null {
  return bytes === null ? null : Number(bytes);
}
