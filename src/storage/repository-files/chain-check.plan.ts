import type { ImageFacts } from '../storage-worker/file-calls.js';
import type { ImageInfo } from '../../lib/qemu/qemu-img-output.js';

/** A file of a restore point according to the hub's records or, without a hub, to a manifest. */
export interface SealedFile {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly file: string;
  readonly size_bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** The file found in place of a sealed file. */
export interface FoundFile {
  readonly sealed: SealedFile;
  /** As shown to users. */
  readonly path: string;
  /** The path at which the file must be, without any symbolic link. */
  readonly expected_path: string;
  /** null: not a regular file. */
  readonly facts: ImageFacts | null | 'missing';
}

export interface ChainProblem {
  /** damaged: available on explicit request; unsafe: opening it could lead to files that are not the restore point's. */
  readonly kind: 'damaged' | 'unsafe';
  readonly reason:
    'file_missing' | 'file_truncated' | 'file_altered' | 'not_a_regular_file' | 'several_links' | 'leads_elsewhere' | 'header_refused' | 'backing_file_differs';
  readonly backup_id: string;
  readonly path: string;
  readonly file: string;
  /** Completes a sentence that starts with the file name. */
  readonly detail: string;
}

/**
 * @param found oldest first
 * @param bottom required backing file of the oldest, relative to the repository; null: none
 * @returns the first problem; null: the files may be opened as one disk
 */
export function chainProblem(found: readonly FoundFile[], allowDamaged: boolean, bottom: string | null = null): ChainProblem | null {
  for (const [index, each] of found.entries()) {
    const wrong = fileProblem(each, found[index - 1]?.sealed.file ?? bottom, allowDamaged);
    if (wrong !== null) return { ...wrong, backup_id: each.sealed.backup_id, path: each.path, file: each.sealed.file };
  }
  return null;
}

type Problem = Pick<ChainProblem, 'kind' | 'reason' | 'detail'>;

function fileProblem({ sealed, expected_path, facts }: FoundFile, below: string | null, allowDamaged: boolean): Problem | null {
  if (facts === 'missing') return allowDamaged ? null : { kind: 'damaged', reason: 'file_missing', detail: 'is missing' };
  if (facts === null) return { kind: 'unsafe', reason: 'not_a_regular_file', detail: 'is not a regular file' };
  if (facts.real_path !== expected_path) {
    return { kind: 'unsafe', reason: 'leads_elsewhere', detail: 'is reached through a symbolic link and is outside the folder of its restore point' };
  }
  if (facts.links !== 1)
    return { kind: 'unsafe', reason: 'several_links', detail: `has ${facts.links} names (hard links), so it may belong to something else` };
  if (facts.size_bytes !== sealed.size_bytes && !allowDamaged) {
    return {
      kind: 'damaged',
      reason: facts.size_bytes < sealed.size_bytes ? 'file_truncated' : 'file_altered',
      detail: `has ${facts.size_bytes} bytes; it was sealed with ${sealed.size_bytes}`,
    };
  }
  return headerProblem(facts.image, sealed.file, below);
}

/**
 * @param file relative to the repository
 * @param below required backing file, relative to the repository; null: none
 */
export function headerProblem(image: ImageInfo | null, file: string, below: string | null): Problem | null {
  if (image === null) {
    return {
      kind: 'unsafe',
      reason: 'header_refused',
      detail: 'is not a QCOW2 image like those of backups: its header is broken, it is encrypted, or its data is in another file',
    };
  }
  const named = image.backing_filename === null ? null : resolved(file, image.backing_filename);
  if (named !== below) {
    return {
      kind: 'unsafe',
      reason: 'backing_file_differs',
      detail: `has ${image.backing_filename === null ? 'no backing file' : 'a different backing file'} instead of ${below ?? 'none'}`,
    };
  }
  if (below !== null && image.backing_format !== 'qcow2') {
    return { kind: 'unsafe', reason: 'backing_file_differs', detail: 'does not declare its backing file as QCOW2' };
  }
  return null;
}

/** A file name from a header, relative to the repository; empty for a path that is absolute or leads out of the repository. */
function resolved(file: string, name: string): string {
  if (name.startsWith('/')) return '';
  const parts = file.split('/').slice(0, -1);
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return '';
  }
  return parts.join('/');
}
