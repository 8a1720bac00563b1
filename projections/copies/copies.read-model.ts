import type { HealedFile } from '../../src/kernel/healed-file.js';
import type { CopiedDisk, CopyExpired, CopyForm } from '../../src/hub/repositories/copies/model/copy.events.js';
import { bigint, boolean, instant, json, position, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export type CopyStatus = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';

export type CopyDamageRow = {
  readonly code: 'file_missing' | 'file_truncated' | 'file_altered';
  /** Relative to the repository; null: the restore point as a whole. */
  readonly file: string | null;
  readonly detail: string;
  readonly detected_at: string;
  readonly ranges: readonly { readonly offset_bytes: number; readonly length_bytes: number }[];
  readonly verification_id: string | null;
};

export type HealedCopyRow = { readonly files: readonly HealedFile[]; readonly verification_id: string; readonly healed_at: string };

export const CopyReadModel = readModel({
  name: 'copies',
  key: 'copy_id',
  tallied: 'status',
  columns: {
    copy_id: text(),
    backup_id: text(),
    vm_id: text(),
    vm_name: text(),
    chain_id: text(),
    source_repository_id: text(),
    /** The repository that holds the copy. */
    repository_id: text(),
    policy_id: text().nullable(),
    status: text<CopyStatus>(),
    /** null: not planned yet. */
    form: text<CopyForm>().nullable(),
    /** Relative to the repository. */
    folder: text().nullable(),
    /** The restore point that the copy depends on, which has a copy in the same repository. */
    parent_backup_id: text().nullable(),
    total_bytes: bigint().nullable(),
    written_bytes: bigint().nullable(),
    kept_bytes: bigint().nullable(),
    manifest_sha256: text().nullable(),
    disks: json<readonly CopiedDisk[]>().nullable(),
    /** Why it cannot continue now. */
    interruption: json<{ readonly code: string; readonly detail: string; readonly since: string }>().nullable(),
    error: json<{ readonly code: string; readonly detail: string }>().nullable(),
    damage: json<CopyDamageRow>().nullable(),
    /** It is not removed before; null: it is not locked. */
    locked_until: instant().nullable(),
    /** null: it has not expired. */
    expiry: json<CopyExpired['data']>().nullable(),
    /** The last time that damage was mended; null: never. */
    healed: json<HealedCopyRow>().nullable(),
    /** When all of its files were last read and found sound after it was copied; null: not since. */
    checked_at: instant().nullable(),
    checked_by_verification_id: text().nullable(),
    /** Whether nothing of it is left at the target. */
    removed: boolean(),
    requested_at: instant(),
    /** When its files had been read back and compared. */
    verified_at: instant().nullable(),
    /** When it ended, whatever the outcome. */
    ended_at: instant().nullable(),
    created_position: position(),
  },
  indexes: [
    '(created_position)',
    '(backup_id, created_position)',
    '(vm_id, created_position)',
    '(repository_id, created_position)',
    '(status, created_position)',
    '(chain_id, repository_id)',
    `(created_position) where status in ('pending', 'running') or not removed and status in ('failed', 'cancelled', 'deleted')`,
  ],
});
export type CopyReadModel = EntityOf<typeof CopyReadModel>;
export type CopyRow = RowOf<typeof CopyReadModel>;
