import { join } from 'node:path';
import type { FileCalls } from '../storage-worker/file-calls.js';
import { ifThere } from '../../lib/files/if-there.js';
import { object, oneOf, text, time, wrong, WrongShapeError } from '../../lib/json-shape/json-shape.js';

export const MARKER_FILE = '.sendense-repository.json';
/** The version that this program writes; it also reads version 1. */
export const MARKER_FORMAT_VERSION = 2;
const MAX_MARKER_BYTES = 64 * 1024;

/** At the root of a repository, so that a missing mount or another disk at its path is detected. */
export type RepositoryMarker = {
  /** Version 1: no restore point of format 2 was ever sealed here. */
  readonly format_version: 1 | typeof MARKER_FORMAT_VERSION;
  readonly repository_id: string;
  readonly created_at: string;
  /** `copy`: holds copies of the restore points of another repository. */
  readonly role: 'primary' | 'copy';
};

/** null: there is none. @throws WrongShapeError when it cannot be parsed; the operating system's error when it cannot be read */
export async function readMarker(calls: FileCalls, repositoryPath: string): Promise<RepositoryMarker | null> {
  const json = await ifThere(calls.readText(join(repositoryPath, MARKER_FILE), MAX_MARKER_BYTES));
  if (json === null) return null;
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    // A parser's message quotes its input.
    throw new WrongShapeError(`${MARKER_FILE} is not JSON`);
  }
  const marker = object(document, MARKER_FILE);
  const version = marker['format_version'];
  if (version !== 1 && version !== MARKER_FORMAT_VERSION) {
    throw wrong(`format_version in ${MARKER_FILE}`, `1 or ${MARKER_FORMAT_VERSION}, the versions that this program reads`, version);
  }
  return {
    format_version: version,
    repository_id: text(marker['repository_id'], `repository_id in ${MARKER_FILE}`),
    created_at: time(marker['created_at'], `created_at in ${MARKER_FILE}`),
    role: version === 1 ? 'primary' : oneOf('primary', 'copy')(marker['role'], `role in ${MARKER_FILE}`),
  };
}

/** Durable; may be repeated. */
export async function writeMarker(calls: FileCalls, repositoryPath: string, marker: RepositoryMarker): Promise<void> {
  await calls.writeDurably(join(repositoryPath, MARKER_FILE), `${JSON.stringify(marker, null, 2)}\n`, 0o444);
}

/**
 * Makes programs that read no restore points of format 2 refuse the repository as a whole. Durable; does nothing when they do so already.
 * @returns false: there is no marker
 */
export async function raiseMarker(calls: FileCalls, repositoryPath: string): Promise<boolean> {
  const marker = await readMarker(calls, repositoryPath);
  if (marker === null) return false;
  if (marker.format_version !== MARKER_FORMAT_VERSION) await writeMarker(calls, repositoryPath, { ...marker, format_version: MARKER_FORMAT_VERSION });
  return true;
}

/** Durable; does nothing when there is none. */
export async function removeMarker(calls: FileCalls, repositoryPath: string): Promise<void> {
  await calls.removeTree(join(repositoryPath, MARKER_FILE));
  await calls.syncToDisk(repositoryPath);
}
