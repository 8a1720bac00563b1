import type { VmDisk, VmEvent } from '../model/vm.events.js';
import type { VmState } from '../model/vm.state.js';

export type ObserveDisksData = { readonly disks: readonly VmDisk[]; readonly observed_at: string };

export function decideObserveDisks(command: ObserveDisksData, state: VmState): readonly VmEvent[] {
  if (state.status !== 'registered' || sameDisks(state.vm.disks, command.disks)) return [];
  return [{ type: 'VmDisksChanged', data: { disks: command.disks, observed_at: command.observed_at } }];
}

function sameDisks(known: readonly VmDisk[], seen: readonly VmDisk[]): boolean {
  return (
    known.length === seen.length &&
    known.every((disk, index) => {
      const other = seen[index];
      return (
        other !== undefined &&
        disk.disk_id === other.disk_id &&
        disk.disk_key === other.disk_key &&
        disk.size_bytes === other.size_bytes &&
        disk.format === other.format &&
        disk.change_tracking === other.change_tracking
      );
    })
  );
}
