import { join } from 'node:path';
import type { FileCalls } from '../storage-worker/file-calls.js';
import { ifThere } from '../../lib/files/if-there.js';
import { object, text, time, wrong, WrongShapeError } from '../../lib/json-shape/json-shape.js';

export const MARKER_FILE = '.sendense-repository.json';
const MAX_MARKER_BYTES = 64 * 1024;

/** At the root of a repository, so that a missing mount or another disk at its path is detected. */
export type RepositoryMarker = { readonly format_version: 1; readonly repository_id: string; readonly created_at: string };

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
  if (marker['format_version'] !== 1) throw wrong(`format_version in ${MARKER_FILE}`, '1, the only version this program reads', marker['format_version']);
  return {
    format_version: 1,
    repository_id: text(marker['repository_id'], `repository_id in ${MARKER_FILE}`),
    created_at: time(marker['created_at'], `created_at in ${MARKER_FILE}`),
  };
}

/** Durable; may be repeated. */
export async function writeMarker(calls: FileCalls, repositoryPath: string, marker: RepositoryMarker): Promise<void> {
  await calls.writeDurably(join(repositoryPath, MARKER_FILE), `${JSON.stringify(marker, null, 2)}\n`, 0o444);
}

/** Durable; does nothing when there is none. */
export async function removeMarker(calls: FileCalls, repositoryPath: string): Promise<void> {
  await calls.removeTree(join(repositoryPath, MARKER_FILE));
  await calls.syncToDisk(repositoryPath);
}
