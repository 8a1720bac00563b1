import type { BackupType, PlannedDisk } from '../model/backup.events.js';
import type { DiskTarget } from '../model/backup.state.js';

const MAX_EXPORT_NAME = 63;
const PREFIX = 'backup-';

/**
 * `backup-<vm>-disk<n>-<full|incr>-<UTC timestamp>`, under 64 characters, using only characters that need no escaping in an NBD URI. A VM name that has other
 * characters, or is too long, is shortened and followed by `~` and the last 8 characters of the VM's id, so that no two VMs share a name.
 */
export function exportName(vmName: string, vmId: string, diskId: number, type: BackupType, startedAt: string): string {
  const tail = `-disk${diskId}-${type === 'full' ? 'full' : 'incr'}-${startedAt.replace(/[-:.]/g, '')}`;
  const room = MAX_EXPORT_NAME - PREFIX.length - tail.length;
  const plain = vmName.replace(/[^A-Za-z0-9._]+/g, '_');
  const mark = `~${vmId.slice(-8)}`;
  const vm = plain === vmName && plain.length <= room ? plain : `${plain.slice(0, room - mark.length)}${mark}`;
  return `${PREFIX}${vm}${tail}`;
}

/** File name of a disk within the restore point's folder. */
export function diskFile(diskId: number): string {
  return `disk-${diskId}.qcow2`;
}

/**
 * `<disk_key>:<URI>,...` with percent-encoded disk keys, because keys may contain `:` and `,`.
 * @param reach the URI of an export: its socket, or `nbds://<host>:<port>/<export_name>`, for which the node has the key
 */
export function nbdTargetsString(
  disks: readonly { readonly planned: PlannedDisk; readonly target: DiskTarget }[],
  reach: (target: DiskTarget) => string,
): string {
  return disks.map(({ planned, target }) => `${encodeURIComponent(planned.disk_key)}:${reach(target)}`).join(',');
}

/**
 * Path of the parent's file for the child's QCOW2 header. It is relative to the child's folder, so that a VM's folder or the whole repository can be moved.
 * Both arguments are relative to the repository: `<vm folder>/<restore point>` and `<vm folder>/<restore point>/<file>`.
 */
export function backingPath(folder: string, parentFile: string): string {
  const vmFolder = folder.slice(0, folder.indexOf('/') + 1);
  return parentFile.startsWith(vmFolder) ? `../${parentFile.slice(vmFolder.length)}` : `../../${parentFile}`;
}
