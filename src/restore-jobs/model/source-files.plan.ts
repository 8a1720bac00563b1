import type { SourceFile } from './restore-job.events.js';

/** A restore point of a chain, as far as its files go. */
export type ChainMember = {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly folder: string;
  readonly disks: readonly {
    readonly disk_id: number;
    readonly file: string;
    /** Relative to the repository; null in a full. */ readonly parent_file: string | null;
  }[];
  readonly files: readonly { readonly disk_id: number; readonly file: string; readonly size_bytes: number; readonly sha256: string }[];
};

/**
 * The files that a disk of a restore point is read from, oldest first. A disk may have another number in an older restore point: what leads there is the parent's file.
 * @throws Error when the chain does not hold together, which sealing never lets happen
 */
export function sourceFilesOf(backupId: string, diskId: number, chain: readonly ChainMember[]): readonly SourceFile[] {
  const sources: SourceFile[] = [];
  let member = chain.find((each) => each.backup_id === backupId);
  let disk = member?.disks.find((each) => each.disk_id === diskId);
  while (member !== undefined && disk !== undefined) {
    const { disk_id, file, parent_file } = disk;
    const sealed = member.files.find((each) => each.disk_id === disk_id);
    if (sealed === undefined) throw new Error(`restore point ${member.backup_id} has no sealed file of disk ${disk_id}`);
    if (sources.length > chain.length) throw new Error(`the chain of restore point ${backupId} goes round in a circle`);
    sources.unshift({ backup_id: member.backup_id, file: `${member.folder}/${file}`, size_bytes: sealed.size_bytes, sha256: sealed.sha256 });
    if (parent_file === null) return sources;
    member = chain.find((each) => parent_file.startsWith(`${each.folder}/`));
    disk = member?.disks.find((each) => `${member?.folder ?? ''}/${each.file}` === parent_file);
  }
  throw new Error(`the chain of restore point ${backupId} ends before the full of disk ${diskId}`);
}
