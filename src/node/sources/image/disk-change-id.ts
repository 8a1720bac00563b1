import { createHash } from 'node:crypto';

const DIGITS = 8;

/**
 * The change id that one disk of a VM folder is given: its bitmap's name. It tells the disk too, since a bitmap goes with its file: when two images exchange their names, each
 * brings a sound bitmap along, of what has changed in the other disk.
 */
export function diskChangeId(changeId: string, diskKey: string): string {
  return `${changeId}.${createHash('sha256').update(diskKey).digest('hex').slice(0, DIGITS)}`;
}
