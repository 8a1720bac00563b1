import type { SealedFile } from './backup.events.js';

/** What the plan needs of a copy, and of the copies in the same repository that it may depend on. */
export type CopiedPoint = {
  readonly backup_id: string;
  readonly parent_backup_id: string | null;
  readonly repository_id: string;
  readonly folder: string | null;
  readonly manifest_sha256: string | null;
  readonly disks:
    | readonly {
        readonly disk_id: number;
        readonly file: string;
        readonly parent_file: string | null;
        readonly size_bytes: number;
        readonly sha256: string;
      }[]
    | null;
  readonly damage: {
    readonly code: 'file_missing' | 'file_truncated' | 'file_altered';
    readonly file: string | null;
    readonly detail: string;
    readonly detected_at: string;
  } | null;
};

type Damage = {
  readonly code: 'parent_missing' | 'parent_truncated' | 'parent_altered';
  readonly detail: string;
  readonly file: string | null;
  readonly detected_at: string;
  readonly verification_id: null;
  readonly caused_by_backup_id: string | null;
};

type Point<Disk> = {
  readonly backup_id: string;
  readonly repository_id: string;
  readonly folder: string | null;
  readonly manifest_sha256: string | null;
  readonly files: readonly SealedFile[] | null;
  readonly disks: readonly Disk[];
};

const DAMAGE = { file_missing: 'parent_missing', file_truncated: 'parent_truncated', file_altered: 'parent_altered' } as const;

/**
 * A restore point as it is in the repository of a copy: the same content, with the files of the copy.
 * @param point as it was backed up
 * @param copies those of its chain in one repository
 * @returns null: it has no copy there
 */
export function asCopied<Disk extends { readonly disk_id: number }, Backup extends Point<Disk>>(
  point: Backup,
  copies: readonly CopiedPoint[],
): (Backup & { readonly status: 'completed'; readonly damage: Damage | null }) | null {
  const copy = copies.find(({ backup_id }) => backup_id === point.backup_id);
  if (copy === undefined) return null;
  const byId = new Map((copy.disks ?? []).map((disk) => [disk.disk_id, disk]));
  return {
    ...point,
    status: 'completed',
    repository_id: copy.repository_id,
    folder: copy.folder,
    manifest_sha256: copy.manifest_sha256,
    damage: damageOf(copy, copies),
    files: (copy.disks ?? []).map(({ disk_id, file, size_bytes, sha256 }) => ({ disk_id, file, size_bytes, sha256, mtime_ns: '0' })),
    disks: point.disks.map((disk) => {
      const copied = byId.get(disk.disk_id);
      return copied === undefined
        ? disk
        : { ...disk, file: copied.file, parent_file: copied.parent_file, size_bytes: copied.size_bytes, sha256: copied.sha256 };
    }),
  };
}

/**
 * A copy and those that it depends on in the same repository.
 * @param copies those of its chain in one repository
 * @returns oldest first
 */
export function copyLineage<Copy extends Pick<CopiedPoint, 'backup_id' | 'parent_backup_id'>>(backupId: string, copies: readonly Copy[]): readonly Copy[] {
  const lineage: Copy[] = [];
  for (let next: string | null = backupId; next !== null;) {
    const copy: Copy | undefined = copies.find((each) => each.backup_id === next);
    if (copy === undefined || lineage.includes(copy)) break;
    lineage.unshift(copy);
    next = copy.parent_backup_id;
  }
  return lineage;
}

/** The first damage in the copy and those that it depends on. */
function damageOf(copy: CopiedPoint, copies: readonly CopiedPoint[]): Damage | null {
  for (const { backup_id, damage } of copyLineage(copy.backup_id, copies).toReversed()) {
    if (damage === null) continue;
    const { code, detail, file, detected_at } = damage;
    return { code: DAMAGE[code], detail, file, detected_at, verification_id: null, caused_by_backup_id: backup_id === copy.backup_id ? null : backup_id };
  }
  return null;
}
