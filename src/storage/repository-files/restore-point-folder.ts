import { dirname } from 'node:path';

/** Longest VM part of a folder name in bytes of UTF-8; with the id it stays below the 255 bytes that file systems allow. */
const MAX_VM_PART_BYTES = 200;
const PARTIAL_PREFIX = '.partial-';
const RESTORE_POINT = /^\d{8}T\d{6}Z-(full|incr)-[0-9a-z]{8}$/;

/**
 * Folder of a VM's restore points, relative to the repository: the VM's name for readability and the end of its id, which distinguishes VMs of the same name.
 * It is derived at the first backup only; later backups use the recorded folder.
 */
export function vmFolderName(vmName: string, vmId: string): string {
  const safe = vmName.replaceAll(/[/\\\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/gu, '_').replace(/^\./, '_');
  let part = '';
  for (const character of safe) {
    if (Buffer.byteLength(part + character) > MAX_VM_PART_BYTES) break;
    part += character;
  }
  return `${part}-${idSuffix(vmId)}`;
}

/** Folder of a restore point within the VM's folder, for example `20261121T101500Z-full-0a1b2c3d`; names sort by time. */
export function restorePointFolderName(startedAt: Date | string, type: 'full' | 'incremental', backupId: string): string {
  const stamp = new Date(startedAt)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '');
  return `${stamp}-${type === 'full' ? 'full' : 'incr'}-${idSuffix(backupId)}`;
}

/** The folder of a restore point while it is written: the same path with `.partial-` before the last name. */
export function partialFolderOf(folder: string): string {
  const slash = folder.lastIndexOf('/');
  return `${folder.slice(0, slash + 1)}${PARTIAL_PREFIX}${folder.slice(slash + 1)}`;
}

/** Path of the repository that holds this file of a restore point: `<repository>/<vm>/<restore point>/<file>`. */
export function repositoryOf(file: string): string {
  return dirname(dirname(dirname(file)));
}

/** Splits `<vm>/<restore point>` or `<vm>/.partial-<restore point>`; null for anything else, including `..`. */
export function parseFolder(folder: string): { readonly vm: string; readonly point: string; readonly partial: boolean } | null {
  const [vm, name, ...rest] = folder.split('/');
  if (vm === undefined || name === undefined || rest.length > 0) return null;
  if (vm === '' || vm.startsWith('.') || vm.includes('\0')) return null;
  const partial = name.startsWith(PARTIAL_PREFIX);
  const point = partial ? name.slice(PARTIAL_PREFIX.length) : name;
  return RESTORE_POINT.test(point) ? { vm, point, partial } : null;
}

/** The last 8 characters of an id: the first characters of time-ordered UUIDs are equal within a minute. */
function idSuffix(id: string): string {
  return id.slice(-8).toLowerCase();
}
