import { createHash } from 'node:crypto';

const DIGITS = 8;

/**
 * The change id of one disk of a VM folder: its bitmap's name. It identifies the disk too, because a bitmap stays with its file: if two images swap names, each
 * has a sound bitmap, but of the changes of the other disk.
 */
export function diskChangeId(changeId: string, diskKey: string): string {
  return `${changeId}.${createHash('sha256').update(diskKey).digest('hex').slice(0, DIGITS)}`;
}
