import type { AccessReader, AccessToRecord } from '../model/access.commands.js';
import type { AccessOperation } from '../model/access.events.js';

/** True for reading names and attributes, which a client repeats for every page; false for a download of content. */
export function isLook(operation: AccessOperation): boolean {
  switch (operation) {
    case 'list_files':
    case 'file_info':
      return true;
    case 'download':
    case 'download_directory':
    case 'download_disk':
    case 'read_console':
    case 'read_screenshot':
      return false;
  }
}

/** Looks with the same key are the same look by the same reader. */
export function lookKey(access: AccessToRecord, { actor, sourceAddress }: AccessReader): string {
  const { operation, backup_id, mount_id, disk_index, path, resolved_path, options } = access;
  return JSON.stringify([actor, sourceAddress, operation, backup_id, mount_id, disk_index, path, resolved_path, Object.entries(options).sort()]);
}
