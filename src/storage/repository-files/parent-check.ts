import type { FileCalls } from '../storage-worker/file-calls.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { headerProblem } from './chain-check.plan.js';
import type { ProvenFile } from './proven-files.js';

/** Recorded facts of a file at the time it was sealed. */
export type SealedFacts = {
  /** Length in bytes. */
  readonly size_bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Nanoseconds since 1970, decimal. */
  readonly mtime_ns: string;
};

export type ParentVerdict =
  { readonly kind: 'sound' } | { readonly kind: 'damaged'; readonly code: 'parent_missing' | 'parent_truncated' | 'parent_altered'; readonly detail: string };

/** The position of a sealed file in its chain. */
export interface ParentPlace {
  /** Relative to the repository, as below. */
  readonly file: string;
  /** Its backing file; null: none. */
  readonly below: string | null;
  /** Its state when its content was last verified; null: unknown. */
  readonly proven: ProvenFile | null;
}

/**
 * Whether a sealed file is unchanged. Cheap while it has the state of its last verification, or else the modification time of its sealing. A different time
 * alone proves nothing (a copied or restored repository has new times), so the file is then read and its hash decides.
 * @throws the operating system's error when the file exists but cannot be read
 */
export async function checkParent(calls: FileCalls, sealed: SealedFacts, path: string, place: ParentPlace): Promise<ParentVerdict> {
  const found = await calls.imageFacts(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return 'missing' as const;
    throw error;
  });
  if (found === 'missing') return { kind: 'damaged', code: 'parent_missing', detail: `The parent's file "${path}" is missing.` };
  if (found === null) return { kind: 'damaged', code: 'parent_altered', detail: `The parent's file "${path}" is no longer a regular file.` };
  if (found.size_bytes < sealed.size_bytes) {
    return {
      kind: 'damaged',
      code: 'parent_truncated',
      detail: `The parent's file "${path}" has ${found.size_bytes} bytes; it was sealed with ${sealed.size_bytes}.`,
    };
  }
  if (found.size_bytes > sealed.size_bytes) {
    return {
      kind: 'damaged',
      code: 'parent_altered',
      detail: `The parent's file "${path}" has grown to ${found.size_bytes} bytes; it was sealed with ${sealed.size_bytes}.`,
    };
  }
  const header = headerProblem(found.image, place.file, place.below);
  if (header !== null) return { kind: 'damaged', code: 'parent_altered', detail: `The parent's file "${path}" ${header.detail}.` };
  const { proven } = place;
  if (proven === null ? found.mtime_ns === sealed.mtime_ns : proven.state === found.state && proven.sha256 === sealed.sha256) return { kind: 'sound' };
  const sha256 = await calls.sha256(path);
  if (sha256 === sealed.sha256) return { kind: 'sound' };
  return {
    kind: 'damaged',
    code: 'parent_altered',
    detail: `The parent's file "${path}" was altered: its SHA-256 is ${sha256}; it was sealed with ${sealed.sha256}.`,
  };
}
