import { chmod, chown, lstat, mkdir, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '../../../kernel/domain-error.js';
import { writeEmptyQcow2 } from '../../../lib/qemu/empty-qcow2.js';

/**
 * Kept free on the scratch file system, because qemu fails the guest's writes once it is full. Covers what a guest may write between two checks of the space
 * and the end of the backup job that is then abandoned.
 */
const MOST_RESERVE_BYTES = 1024 * 1024 * 1024;
/** For a small file system. */
const RESERVED_SHARE = 0.25;
/** Minimum for starting a backup. */
const LEAST_BYTES = 16 * 1024 * 1024;

/**
 * Creates the place for one backup's scratch files and socket, with the owner and group of its parent directory, so that the administrator gives qemu's user
 * access by giving it that directory.
 */
export async function makeScratch(root: string, name: string): Promise<string> {
  await mkdir(root, { recursive: true, mode: 0o711 });
  const place = join(root, name);
  await mkdir(place, { recursive: true });
  await giveToOwnerOf(root, place);
  await chmod(place, 0o770);
  return place;
}

/**
 * Creates the empty file in which qemu keeps the overwritten content of a disk, with the owner and group of the place. @param sizeBytes virtual size of the
 * disk
 */
export async function makeScratchFile(place: string, name: string, sizeBytes: number): Promise<void> {
  const path = join(place, name);
  await writeEmptyQcow2(path, sizeBytes);
  await giveToOwnerOf(place, path);
  await chmod(path, 0o660);
}

async function giveToOwnerOf(directory: string, path: string): Promise<void> {
  const owner = await stat(directory);
  const own = await stat(path);
  if (own.uid !== owner.uid || own.gid !== owner.gid) await chown(path, owner.uid, owner.gid);
}

/**
 * How much space one backup may take: the configured limit, but no more than is free beyond the reserve and the space promised to other backups.
 * @throws DomainError scratch_full
 */
export async function scratchBound(place: string, maxBytes: number, promisedBytes: number): Promise<number> {
  const { free, reserve } = await space(place);
  const bound = Math.min(maxBytes, free - reserve - promisedBytes);
  if (bound >= LEAST_BYTES) return bound;
  throw new DomainError(
    'storage_full',
    'scratch_full',
    `The scratch directory ${place} has ${free} bytes free, too few for a backup with ${reserve} in reserve and ${promisedBytes} promised to running backups.`,
  );
}

/** Space that the files of a place take, in bytes; 0 if it is gone. */
export async function scratchUse(place: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(place).catch(() => [])) {
    const stats = await lstat(join(place, name)).catch(() => null);
    bytes += (stats?.blocks ?? 0) * 512;
  }
  return bytes;
}

export async function reserveIsTouched(place: string): Promise<boolean> {
  const { free, reserve } = await space(place);
  return free < reserve / 2;
}

async function space(place: string): Promise<{ readonly free: number; readonly reserve: number }> {
  const { bavail, blocks, bsize } = await statfs(place);
  return { free: bavail * bsize, reserve: Math.min(MOST_RESERVE_BYTES, Math.floor(blocks * bsize * RESERVED_SHARE)) };
}

export async function removeScratch(place: string): Promise<void> {
  await rm(place, { recursive: true, force: true });
}
