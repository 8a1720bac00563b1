import { dirname, isAbsolute, join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import type { FileCalls } from '../storage-worker/file-calls.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { mountTable } from '../../lib/files/mount-table.js';
import { mountProblem } from '../share-mounts/mount-requirement.plan.js';
import { MARKER_FILE, readMarker } from './repository-marker.js';

export type RepositoryCheckName = 'absolute_path' | 'mounted' | 'exists' | 'directory' | 'separate' | 'unused' | 'writable';

export type RepositoryCheck = {
  readonly name: RepositoryCheckName;
  readonly ok: boolean;
  /** The finding; for a failed check also what to do. */
  readonly detail: string;
};

export type RepositoryProbe = {
  readonly ok: boolean;
  /** In this order, up to and including the first failure that makes the rest meaningless. */
  readonly checks: readonly RepositoryCheck[];
  /** Id in the existing marker; null without one. */
  readonly marker_repository_id: string | null;
  /** null when the path cannot be measured. */
  readonly free_bytes: number | null;
  readonly total_bytes: number | null;
};

/**
 * Whether a path can become a repository. Leaves nothing behind. Reports all findings in the result and throws only when the file system does not answer.
 * @param callsAt returns the file operations for a place
 * @param others paths of the existing repositories
 * @param ownId a marker of this repository is accepted (left over from an interrupted creation)
 * @param requireMount whether the path must be a mount point
 */
export async function probeRepositoryPath(
  callsAt: (place: string) => FileCalls,
  path: string,
  others: readonly string[],
  ownId: string | null,
  requireMount = false,
): Promise<RepositoryProbe> {
  const calls = callsAt(path);
  const checks: RepositoryCheck[] = [];
  const check = (name: RepositoryCheckName, ok: boolean, detail: string): boolean => {
    checks.push({ name, ok, detail });
    return ok;
  };
  const done = (space: { free_bytes: number; total_bytes: number } | null, marker: string | null): RepositoryProbe => ({
    ok: checks.every(({ ok }) => ok),
    checks,
    marker_repository_id: marker,
    free_bytes: space?.free_bytes ?? null,
    total_bytes: space?.total_bytes ?? null,
  });

  const isAcceptable = isAbsolute(path) && !path.includes('\0') && path !== '/';
  if (!check('absolute_path', isAcceptable, isAcceptable ? `"${path}" is absolute.` : `"${path}" must be an absolute path below "/".`)) return done(null, null);
  if (requireMount) {
    const problem = mountProblem({ type: 'any' }, path, await mountTable());
    if (!check('mounted', problem === null, problem ?? `"${path}" is a mount point.`)) return done(null, null);
  }
  let real: string;
  try {
    real = await calls.realpath(path);
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    check('exists', false, `"${path}" cannot be found (${errnoOf(error) ?? 'unknown error'}). Create the folder or mount its file system first.`);
    return done(null, null);
  }
  check('exists', true, real === path ? `"${path}" exists.` : `"${path}" exists and leads to "${real}".`);
  const isFolder = (await calls.stat(real)).kind === 'folder';
  if (!check('directory', isFolder, isFolder ? `"${path}" is a folder.` : `"${path}" is not a folder. Name a folder.`)) return done(null, null);

  const neighbour = await overlapping(callsAt, calls, real, others);
  check('separate', neighbour === null, neighbour ?? 'It is neither inside another repository nor contains one.');

  let marker: string | null = null;
  try {
    marker = (await readMarker(calls, real))?.repository_id ?? null;
    const free = marker === null || marker === ownId;
    check('unused', free, free ? `There is no other repository's ${MARKER_FILE}.` : `It is already the folder of repository ${marker} (${MARKER_FILE}).`);
  } catch (error) {
    if (error instanceof DomainError) throw error;
    check('unused', false, `A ${MARKER_FILE} exists but cannot be read: ${messageOf(error)}.`);
  }

  const refusal = await tryWriting(calls, real);
  check('writable', refusal === null, refusal ?? 'A file was written, synced to disk, read back and removed.');

  return done(await calls.space(real), marker);
}

async function overlapping(callsAt: (place: string) => FileCalls, calls: FileCalls, real: string, others: readonly string[]): Promise<string | null> {
  // A repository whose file system does not answer is known by its name only.
  const known = await Promise.all(
    others.map(
      async (other) =>
        [
          other,
          await callsAt(other)
            .realpath(other)
            .catch(() => other),
        ] as const,
    ),
  );
  for (const [other, realOther] of known) {
    if (realOther === real) return `"${other}" is already a repository.`;
    if (real.startsWith(`${realOther}/`)) return `It is inside the repository at "${other}".`;
    if (realOther.startsWith(`${real}/`)) return `The repository at "${other}" is inside it.`;
  }
  // Repositories of other hubs are known by their markers only.
  for (let above = dirname(real); above !== '/'; above = dirname(above)) {
    const found = await calls.stat(join(above, MARKER_FILE)).catch(() => null);
    if (found !== null) return `It is inside the repository at "${above}", which has a ${MARKER_FILE}.`;
  }
  return null;
}

async function tryWriting(calls: FileCalls, real: string): Promise<string | null> {
  try {
    return (await calls.tryWriting(real)) ? null : 'A test file did not read back with the content written to it.';
  } catch (error) {
    if (error instanceof DomainError) throw error;
    const remedy =
      errnoOf(error) === 'EROFS'
        ? 'A hub run by systemd can only read it until `install.sh allow hub` has allowed it.'
        : "Give the hub's user write access, or free space.";
    return `A test file could not be written (${errnoOf(error) ?? 'unknown error'}). ${remedy}`;
  }
}
