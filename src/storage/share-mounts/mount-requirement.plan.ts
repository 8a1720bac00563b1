import type { MountTableEntry } from '../../lib/files/mount-table.js';
import { isMountOf, mountAt, type Share, sourceOf } from './share-mount.plan.js';

/** What has to be mounted at exactly the path of a repository: any file system, or one share. */
export type MountRequirement = { readonly type: 'any' } | Share;

/** Why the mount table does not fulfil a requirement, as a sentence with what to do; null: it does. */
export function mountProblem(required: MountRequirement, path: string, table: readonly MountTableEntry[]): string | null {
  const entry = mountAt(path, table);
  if (required.type === 'any') {
    // An automount point is an entry of its own, below the file system once that is mounted.
    return entry === undefined || entry.filesystemType === 'autofs' ? `Nothing is mounted at "${path}". Mount its file system there.` : null;
  }
  if (entry === undefined) return `Nothing is mounted at "${path}". The hub mounts ${sourceOf(required)} there as soon as its server answers.`;
  return isMountOf(required, entry)
    ? null
    : `"${entry.source}" (${entry.filesystemType}) is mounted at "${path}" instead of ${sourceOf(required)}. Unmount it.`;
}
