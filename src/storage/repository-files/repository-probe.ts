import { dirname, isAbsolute, join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import type { FileCalls } from '../file-door/file-calls.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { MARKER_FILE, readMarker } from './repository-marker.js';

export type RepositoryCheckName = 'absolute_path' | 'exists' | 'directory' | 'separate' | 'unused' | 'writable';

export type RepositoryCheck = {
  readonly name: RepositoryCheckName;
  readonly ok: boolean;
  /** What was found; for a failed check also what to do. */
  readonly detail: string;
};

export type RepositoryProbe = {
  readonly ok: boolean;
  /** In this order, up to and including the first one that makes the rest meaningless. */
  readonly checks: readonly RepositoryCheck[];
  /** Id in the marker that lies there; null without one. */
  readonly marker_repository_id: string | null;
  /** null when the path cannot be measured. */
  readonly free_bytes: number | null;
  readonly total_bytes: number | null;
};

/**
 * Whether a path can become a repository. Leaves nothing behind. Throws nothing for what it finds but that the file system does not answer.
 * @param callsAt does the work on the files of a place
 * @param others paths of the repositories there are
 * @param ownId a marker of this repository is no obstacle (the rest of a creation that was interrupted)
 */
export async function probeRepositoryPath(
  callsAt: (place: string) => FileCalls,
  path: string,
  others: readonly string[],
  ownId: string | null,
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
  if (!check('absolute_path', isAcceptable, isAcceptable ? `"${path}" is absolute.` : `"${path}" must begin with "/" and be a folder below it.`))
    return done(null, null);
  let real: string;
  try {
    real = await calls.realpath(path);
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    check('exists', false, `"${path}" cannot be found (${errnoOf(error) ?? 'unknown error'}). Create the folder or mount its file system first.`);
    return done(null, null);
  }
  check('exists', true, real === path ? `"${path}" is there.` : `"${path}" is there and leads to "${real}".`);
  const isFolder = (await calls.stat(real)).kind === 'folder';
  if (!check('directory', isFolder, isFolder ? `"${path}" is a folder.` : `"${path}" is not a folder. Name a folder.`)) return done(null, null);

  const neighbour = await overlapping(callsAt, calls, real, others);
  check('separate', neighbour === null, neighbour ?? 'It neither lies inside another repository nor holds one.');

  let marker: string | null = null;
  try {
    marker = (await readMarker(calls, real))?.repository_id ?? null;
    const free = marker === null || marker === ownId;
    check('unused', free, free ? `There is no other repository's ${MARKER_FILE}.` : `It is the folder of repository ${marker} already (${MARKER_FILE}).`);
  } catch (error) {
    if (error instanceof DomainError) throw error;
    check('unused', false, `A ${MARKER_FILE} is there but cannot be understood: ${messageOf(error)}.`);
  }

  const refusal = await tryWriting(calls, real);
  check('writable', refusal === null, refusal ?? 'A file was written, synced to disk, read back and removed.');

  return done(await calls.space(real), marker);
}

async function overlapping(callsAt: (place: string) => FileCalls, calls: FileCalls, real: string, others: readonly string[]): Promise<string | null> {
  // One that cannot be asked, because its file system is away, is known by its name only.
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
    if (realOther === real) return `"${other}" is a repository already.`;
    if (real.startsWith(`${realOther}/`)) return `It lies inside the repository at "${other}".`;
    if (realOther.startsWith(`${real}/`)) return `The repository at "${other}" lies inside it.`;
  }
  // Repositories of other hubs are known by their markers only.
  for (let above = dirname(real); above !== '/'; above = dirname(above)) {
    const found = await calls.stat(join(above, MARKER_FILE)).catch(() => null);
    if (found !== null) return `It lies inside the repository at "${above}", whose ${MARKER_FILE} is there.`;
  }
  return null;
}

async function tryWriting(calls: FileCalls, real: string): Promise<string | null> {
  try {
    return (await calls.tryWriting(real)) ? null : 'What was read back from a test file is not what was written to it.';
  } catch (error) {
    if (error instanceof DomainError) throw error;
    const remedy =
      errnoOf(error) === 'EROFS'
        ? 'To a hub run by systemd it is read-only until `install.sh allow hub` has named it.'
        : "Give the hub's user write access, or free space.";
    return `A test file could not be written (${errnoOf(error) ?? 'unknown error'}). ${remedy}`;
  }
}
