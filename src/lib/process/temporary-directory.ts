import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityOfUs, isAlive } from './process-identity.js';
import type { ProcessIdentity } from './process-supervisor.port.js';

/** The purpose of a temporary directory. */
export type TemporaryDirectoryKind = 'tunnel' | 'virsh' | 'ssh' | 'archive' | 'validate';

/** `sendense-<kind>-<pid>.<start ticks>.<pid namespace>.<beginning of the boot id>-<random>`: the name alone identifies the owner. */
const NAME = /^sendense-(?:tunnel|virsh|ssh|archive|validate)-(\d+)\.(\d+)\.(\d+)\.([0-9a-f]{8})-[A-Za-z0-9]{6}$/;

const swept = new Set<string>();

/**
 * Creates a private temporary directory. This process removes it, or, if killed, the next of our programs that creates one in the same place. Names are short,
 * as socket paths require.
 * @param place default: the directory for temporary files
 */
export function makeTemporaryDirectory(kind: TemporaryDirectoryKind, place = tmpdir()): string {
  if (!swept.has(place)) {
    swept.add(place);
    removeOrphanedDirectories(place);
  }
  return mkdtempSync(join(place, `${temporaryDirectoryPrefix(kind, identityOfUs())}-`));
}

/** Creates a temporary directory, and removes it after use. */
export async function withTemporaryDirectory<Result>(kind: TemporaryDirectoryKind, use: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = makeTemporaryDirectory(kind);
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Removes the temporary directories of killed processes, but only those of this user, this machine and this pid namespace. Files of others and of live
 * processes are not touched, and whatever cannot be removed is left.
 */
export function removeOrphanedDirectories(place = tmpdir()): void {
  const thisBoot = identityOfUs().boot_id;
  let names: readonly string[];
  try {
    names = readdirSync(place);
  } catch {
    return;
  }
  for (const name of names) {
    const [, pid, start_ticks, namespace, boot] = NAME.exec(name) ?? [];
    if (pid === undefined || start_ticks === undefined || boot === undefined || namespace !== pidNamespace()) continue;
    if (thisBoot.startsWith(boot) && isAlive({ pid: Number(pid), start_ticks, boot_id: thisBoot })) continue;
    try {
      const found = lstatSync(join(place, name));
      if (found.isDirectory() && found.uid === process.getuid?.()) rmSync(join(place, name), { recursive: true, force: true });
    } catch {
      // Another process removed it first, or it is in use.
    }
  }
}

/** The beginning of the directory names of that process. */
export function temporaryDirectoryPrefix(kind: TemporaryDirectoryKind, { pid, start_ticks, boot_id }: ProcessIdentity): string {
  return `sendense-${kind}-${pid}.${start_ticks}.${pidNamespace()}.${boot_id.slice(0, 8)}`;
}

/** In another namespace, as in a container that shares the temporary files, a pid refers to a different process. */
function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}
