import { dirname } from 'node:path';

/** Longest VM part of a folder name in bytes of UTF-8; with the id it stays under the 255 bytes that file systems allow. */
const MAX_VM_PART_BYTES = 200;
const PARTIAL_PREFIX = '.partial-';
const RESTORE_POINT = /^\d{8}T\d{6}Z-(full|incr)-[0-9a-z]{8}$/;

/**
 * Folder of a VM's restore points, relative to the repository: its name for people and the end of its id, which keeps two VMs of one name apart. It depends on
 * name and id at the first backup only; whoever has recorded a folder goes on with that one.
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

/** Folder of a restore point within the VM's folder, for example `20261121T101500Z-full-0a1b2c3d`; in the order of time by name. */
export function restorePointFolderName(startedAt: Date | string, type: 'full' | 'incremental', backupId: string): string {
  const stamp = new Date(startedAt)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '');
  return `${stamp}-${type === 'full' ? 'full' : 'incr'}-${idSuffix(backupId)}`;
}

/** Where a restore point lies while it is written: the same folder with `.partial-` before its own name. */
export function partialFolderOf(folder: string): string {
  const slash = folder.lastIndexOf('/');
  return `${folder.slice(0, slash + 1)}${PARTIAL_PREFIX}${folder.slice(slash + 1)}`;
}

/** Path of the repository that holds this file of a restore point: `<repository>/<vm>/<restore point>/<file>`. */
export function repositoryOf(file: string): string {
  return dirname(dirname(dirname(file)));
}

/** Splits `<vm>/<restore point>` or `<vm>/.partial-<restore point>`; null when it is anything else, `..` included. */
export function parseFolder(folder: string): { readonly vm: string; readonly point: string; readonly partial: boolean } | null {
  const [vm, name, ...rest] = folder.split('/');
  if (vm === undefined || name === undefined || rest.length > 0) return null;
  if (vm === '' || vm.startsWith('.') || vm.includes('\0')) return null;
  const partial = name.startsWith(PARTIAL_PREFIX);
  const point = partial ? name.slice(PARTIAL_PREFIX.length) : name;
  return RESTORE_POINT.test(point) ? { vm, point, partial } : null;
}

/** The last 8 characters of an id: the first ones of a time-ordered UUID are the same for a minute. */
function idSuffix(id: string): string {
  return id.slice(-8).toLowerCase();
}
