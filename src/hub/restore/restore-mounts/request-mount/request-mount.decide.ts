import { DomainError } from '../../../../kernel/domain-error.js';
import type { MountRequested, RestoreMountEvent } from '../model/restore-mount.events.js';
import type { RestoreMountState } from '../model/restore-mount.state.js';

export type RequestMountAt = {
  readonly request: MountRequested['data'];
  readonly slots: number;
  /** Every mount that may exist on the machine. */
  readonly active: readonly { readonly mount_id: string; readonly backup_id: string; readonly disk_index: number }[];
};

/** @throws DomainError disk_already_mounted, mount_slots_exhausted */
export function decideRequestMount({ request, slots, active }: RequestMountAt, state: RestoreMountState): readonly RestoreMountEvent[] {
  if (state.status !== 'none') return [];
  const same = active.find((mount) => mount.backup_id === request.backup_id && mount.disk_index === request.disk_index);
  if (same !== undefined) {
    throw new DomainError(
      'conflict',
      'disk_already_mounted',
      `Disk ${request.disk_index} of restore point ${request.backup_id} is already mounted as ${same.mount_id}. Use that mount, or unmount it first.`,
      { backup_id: request.backup_id, disk_index: request.disk_index, mount_id: same.mount_id },
    );
  }
  if (active.length >= slots) {
    throw new DomainError('unavailable', 'mount_slots_exhausted', `All ${slots} mount slots of this hub are in use. Unmount a disk that is no longer needed.`, {
      slots_total: slots,
      slots_used: active.length,
      retry_after_seconds: 60,
    });
  }
  return [{ type: 'MountRequested', data: request }];
}
