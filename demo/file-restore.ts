import { createWriteStream } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BackupResponse } from '../src/hub/backup/backups/model/backup.response.js';
import type { FileListDto } from '../src/hub/restore/restore-mounts/list-files/list-files.dto.js';
import type { RestoreMountResponse } from '../src/hub/restore/restore-mounts/model/restore-mount.response.js';
import { type DemoHub, HubRefused } from './demo-hub.js';
import { dumpFile, firstDifference } from './sample-vm.js';
import { seconds, size, table } from './text-layout.js';

/** Codes for a machine that cannot mount, as opposed to a fault in the backup. */
const CANNOT_MOUNT: readonly unknown[] = ['mount_driver_unavailable', 'mount_failed'];

/** A guest file, and a copy of its disk at the instant of the backup. */
export interface WantedFile {
  readonly diskKey: string;
  readonly path: string;
  /** Path of a raw disk. */
  readonly copy: string;
}

export type FileRestore = { readonly outcome: 'same' | 'different' } | { readonly outcome: 'cannot_mount'; readonly reason: string };

/**
 * Mounts a disk of a restore point through the API, lists the file's folder, downloads the file into `work`, releases the mount, and compares the file with its
 * source.
 * Prints each step.
 * @throws Error when the hub refuses for a reason that lies in the backup
 */
export async function restoreFile(hub: DemoHub, backup: BackupResponse, wanted: WantedFile, work: string, say: (line: string) => void): Promise<FileRestore> {
  const disk = backup.disk_results.find(({ disk_key }) => disk_key === wanted.diskKey);
  if (disk === undefined) throw new Error(`the restore point has no disk ${wanted.diskKey}`);
  const begun = performance.now();
  let mount: RestoreMountResponse;
  try {
    mount = await hub.post<RestoreMountResponse>('/restore/mount', { backup_id: backup.backup_id, disk_index: disk.disk_id });
  } catch (error) {
    if (error instanceof HubRefused && CANNOT_MOUNT.includes(error.code)) return { outcome: 'cannot_mount', reason: error.detail };
    throw error;
  }
  const downloaded = join(work, 'downloaded');
  try {
    const folder = dirname(wanted.path);
    const listing = await hub.get<FileListDto>(`/restore/${mount.mount_id}/files?path=${encodeURIComponent(folder)}`);
    say(
      `   ${wanted.diskKey} of the ${backup.backup_type}: ${mount.filesystem_type ?? ''}, read-only by ${mount.driver ?? ''}, listed after ${seconds(performance.now() - begun)}`,
    );
    const rows = listing.files.slice(0, 5).map((file) => [file.name, file.type, size(file.size), file.mode, file.modified_time ?? '']);
    say(table([folder, 'type', 'size', 'mode', 'modified'], rows));
    const answer = await hub.download(`/restore/${mount.mount_id}/download?path=${encodeURIComponent(wanted.path)}`);
    await pipeline(Readable.fromWeb(answer), createWriteStream(downloaded));
  } finally {
    await hub.delete(`/restore/${mount.mount_id}`);
  }
  const source = join(work, 'at-the-instant');
  await dumpFile(wanted.copy, wanted.path, source);
  const difference = await firstDifference(downloaded, source);
  const verdict = difference === null ? 'identical to what the source held at that instant' : `DIFFERENT from byte ${difference} on`;
  say(`   ${difference === null ? 'PASS' : 'FAIL'} ${basename(wanted.path)} downloaded: ${verdict}`);
  return { outcome: difference === null ? 'same' : 'different' };
}
