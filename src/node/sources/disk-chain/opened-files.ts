import { readdir, readlink, stat } from 'node:fs/promises';
import { FIRST_INHERITED } from '../inherited-files.js';
import { fileIdentity } from '../image/open-writers.js';

/**
 * Paths of files and block devices that a process has open and that are not expected.
 * @param expected see fileIdentity
 * @throws the system's error: the process is gone, or may not be inspected by this account
 */
export async function unexpectedFiles(pid: number, expected: readonly string[]): Promise<readonly string[]> {
  const known = new Set(expected);
  const found: string[] = [];
  for (const descriptor of await readdir(`/proc/${pid}/fd`)) {
    // The process's own output files.
    if (Number(descriptor) < FIRST_INHERITED) continue;
    const link = `/proc/${pid}/fd/${descriptor}`;
    const stats = await stat(link, { bigint: true }).catch(() => null);
    if (stats === null || (!stats.isFile() && !stats.isBlockDevice()) || known.has(fileIdentity(stats))) continue;
    const target = await readlink(link);
    // Memory with a descriptor is not a file of the host.
    if (!target.startsWith('/memfd:')) found.push(target);
  }
  return found;
}
