import { createHash } from 'node:crypto';
import { lstat, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The path of a Unix socket has at most 108 bytes including its closing NUL. */
export const SOCKET_PATH_BYTES = 107;
const LONGEST_NAME = '/disk-9999.sock';

/**
 * The directory for the sockets of a directory `<run>/<kind>/<id>/<name>`: the directory itself, or, if that path is too long, one with a short name below
 * `<run>`, or else a private one among the temporary files. Deterministic.
 */
export function socketDirectory(directory: string): string {
  const digest = createHash('sha256').update(directory).digest('hex');
  const beside = join(directory, '../../../s', digest.slice(0, 8));
  return (
    [directory, beside].find((place) => Buffer.byteLength(place) + LONGEST_NAME.length <= SOCKET_PATH_BYTES) ??
    join(tmpdir(), `sendense-${digest.slice(0, 20)}`)
  );
}

/** @throws Error when another user created it */
export async function makeSocketDirectory(directory: string): Promise<string> {
  const place = socketDirectory(directory);
  await makePrivateDirectory(place);
  return place;
}

/** @throws Error when another user created it, or may enter it */
export async function makePrivateDirectory(place: string): Promise<void> {
  await mkdir(place, { recursive: true, mode: 0o700 });
  const stats = await lstat(place);
  if (!stats.isDirectory() || (process.getuid !== undefined && stats.uid !== process.getuid()) || (stats.mode & 0o077) !== 0) {
    throw new Error(`${place} is not a private directory of this user; remove it`);
  }
}

export async function removeSocketDirectory(directory: string): Promise<void> {
  await rm(socketDirectory(directory), { recursive: true, force: true });
}
