import type { AccessReader, AccessToRecord } from '../model/access.commands.js';
import type { AccessOperation } from '../model/access.events.js';

/** Reading names and attributes, which a client repeats for every page; a download of content is none. */
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

/** Two looks with one key are the same look of the same reader. */
export function lookKey(access: AccessToRecord, { actor, sourceAddress }: AccessReader): string {
  const { operation, backup_id, mount_id, disk_index, path, resolved_path, options } = access;
  return JSON.stringify([actor, sourceAddress, operation, backup_id, mount_id, disk_index, path, resolved_path, Object.entries(options).sort()]);
}
