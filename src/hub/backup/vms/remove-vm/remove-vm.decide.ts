import { DomainError } from '../../../../kernel/domain-error.js';
import type { VmEvent } from '../model/vm.events.js';
import type { VmState } from '../model/vm.state.js';

export type RemoveVmData = {
  readonly vm_id: string;
  readonly restore_points: number;
  /** Pending and running backups, and ended ones that are still being cleaned up. */
  readonly unfinished_backups: number;
  readonly removed_at: string;
};

export function decideRemoveVm(command: RemoveVmData, state: VmState): readonly VmEvent[] {
  if (state.status !== 'registered') throw new DomainError('not_found', 'vm_not_found', `There is no VM ${command.vm_id}.`, { vm_id: command.vm_id });
  const { restore_points, unfinished_backups } = command;
  if (restore_points + unfinished_backups > 0) {
    throw new DomainError(
      'conflict',
      'vm_has_backups',
      `VM "${state.vm.name}" has ${restore_points} restore points and ${unfinished_backups} unfinished backups. Delete the restore points and let the backups finish first.`,
      { vm_id: command.vm_id, restore_points, unfinished_backups },
    );
  }
  return [{ type: 'VmRemoved', data: { removed_at: command.removed_at } }];
}
