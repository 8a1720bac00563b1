import { createHash } from 'node:crypto';
import { chmod, lchown, lstat, mkdir, mkdtemp, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DomainError } from '../../kernel/domain-error.js';
import type { GuestAccount } from '../libvirt/guest-account.plan.js';
import { SOCKET_PATH_BYTES } from '../../lib/process/socket-place.js';
import { errnoOf } from '../../lib/process/system-error.js';

const SOCKET = 'nbd.sock';

/** The socket of one disk of a guest, in a directory of its own. Deterministic. @throws DomainError guest_socket_refused if the root's path is too long */
export function guestSocket(root: string, guestId: string, index: number): string {
  const path = join(root, `${createHash('sha256').update(guestId).digest('hex').slice(0, 16)}-${index}`, SOCKET);
  const tooLong = Buffer.byteLength(path) - SOCKET_PATH_BYTES;
  if (tooLong <= 0) return path;
  throw refused(root, `its path is ${tooLong} bytes too long for a socket`);
}

/**
 * Creates a directory that only this program may enter yet, and removes leftovers of an earlier attempt. @throws DomainError guest_socket_refused for a root in
 * which another account could replace entries
 */
export async function makeGuestSocketDirectory(root: string, socket: string): Promise<void> {
  await mkdir(root, { recursive: true });
  const { uid } = await stat(root);
  if (uid !== ourUid()) throw refused(root, `it belongs to uid ${uid} instead of the node's account`);
  // The guests' account may traverse it; nobody else may list it.
  await chmod(root, 0o711);
  await removeGuestSocketDirectory(socket);
  await mkdir(dirname(socket), { mode: 0o700 });
}

/** The owner of the directory. Once it is `theirs`, the guests' account controls its contents, and nothing in it can be trusted. */
export async function holderOfGuestSocket(socket: string): Promise<'ours' | 'theirs' | 'nobody'> {
  try {
    return (await lstat(dirname(socket))).uid === ourUid() ? 'ours' : 'theirs';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'nobody';
    throw error;
  }
}

/**
 * From here on only the guests' account may enter the directory and connect. The directory changes owner last: while it is ours, nobody can replace its
 * contents. @throws DomainError guest_socket_refused
 */
export async function handOverGuestSocket(root: string, socket: string, account: GuestAccount | null): Promise<void> {
  await chmod(socket, 0o600);
  if (account === null || account.uid === ourUid()) return;
  await requirePassage(root, account);
  await lchown(socket, account.uid, ourGid()).catch(whereNotAllowed(root, account));
  await lchown(dirname(socket), account.uid, ourGid());
}

/** A no-op if there is none. */
export async function removeGuestSocketDirectory(socket: string): Promise<void> {
  const directory = dirname(socket);
  try {
    // Take ownership back first, so that nobody else can replace anything in it in the meantime.
    await lchown(directory, ourUid(), ourGid());
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  await chmod(directory, 0o700);
  await rm(socket, { force: true });
  try {
    await rmdir(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw error;
    // Do not follow anything else that the guests' account has put there.
    await rename(directory, await mkdtemp(`${directory}.foreign-`));
  }
}

async function requirePassage(root: string, { uid, gid }: GuestAccount): Promise<void> {
  if (uid === 0) return;
  for (let place = root; ; place = dirname(place)) {
    const { mode, uid: owner, gid: group } = await stat(place);
    const bit = owner === uid ? 0o100 : group === gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) throw refused(root, `the account that libvirt runs guests as (uid ${uid}) may not pass through ${place}`);
    if (place === dirname(place)) return;
  }
}

function whereNotAllowed(root: string, { uid }: GuestAccount): (error: unknown) => never {
  return (error) => {
    if (errnoOf(error) !== 'EPERM') throw error;
    throw refused(root, `the node may not give files to the account that libvirt runs guests as (uid ${uid}; requires CAP_CHOWN)`);
  };
}

function refused(root: string, why: string): DomainError {
  return new DomainError('conflict', 'guest_socket_refused', `Guests cannot get their disks in ${root} (guest_socket_directory): ${why}.`, {
    guest_socket_directory: root,
  });
}

function ourUid(): number {
  return process.getuid?.() ?? 0;
}

function ourGid(): number {
  return process.getgid?.() ?? 0;
}
