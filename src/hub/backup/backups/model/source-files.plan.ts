import type { SourceFile } from '../../../restore/restore-jobs/model/restore-job.events.js';

/** The files of one restore point in a chain. */
export type ChainMember = {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly folder: string;
  readonly disks: readonly {
    readonly disk_id: number;
    readonly file: string;
    /** Relative to the repository; null if the file holds the whole disk. */
    readonly parent_file: string | null;
  }[];
  readonly files: readonly { readonly disk_id: number; readonly file: string; readonly size_bytes: number; readonly sha256: string }[];
};

/**
 * The files that a disk of a restore point is read from, oldest first. Follows parent files, not disk numbers: a disk may have another number in an older
 * restore point.
 * @throws Error if the chain is broken, which sealing prevents
 */
export function sourceFilesOf(backupId: string, diskId: number, chain: readonly ChainMember[]): readonly SourceFile[] {
  const sources: SourceFile[] = [];
  let member = chain.find((each) => each.backup_id === backupId);
  let disk = member?.disks.find((each) => each.disk_id === diskId);
  while (member !== undefined && disk !== undefined) {
    const { disk_id, file, parent_file } = disk;
    const sealed = member.files.find((each) => each.disk_id === disk_id);
    if (sealed === undefined) throw new Error(`restore point ${member.backup_id} has no sealed file of disk ${disk_id}`);
    if (sources.length > chain.length) throw new Error(`the chain of restore point ${backupId} contains a cycle`);
    sources.unshift({ backup_id: member.backup_id, file: `${member.folder}/${file}`, size_bytes: sealed.size_bytes, sha256: sealed.sha256 });
    if (parent_file === null) return sources;
    member = chain.find((each) => parent_file.startsWith(`${each.folder}/`));
    disk = member?.disks.find((each) => `${member?.folder ?? ''}/${each.file}` === parent_file);
  }
  throw new Error(`the chain of restore point ${backupId} ends before the full of disk ${diskId}`);
}
