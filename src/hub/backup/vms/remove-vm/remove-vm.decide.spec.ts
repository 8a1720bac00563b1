import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { VmEvent } from '../model/vm.events.js';
import { evolveVm, initialVmState } from '../model/vm.state.js';
import { decideRemoveVm } from './remove-vm.decide.js';

const { given } = specificationOf({ initialState: initialVmState, evolve: evolveVm, decide: decideRemoveVm });
const registered: VmEvent = {
  type: 'VmRegistered',
  data: { vm_id: 'vm-1', name: 'pg', node_id: 'node-1', source: 'image', source_ref: '/images/pg', disks: [], registered_at: '2026-11-21T10:15:00.000Z' },
};
const removed: VmEvent = { type: 'VmRemoved', data: { removed_at: '2026-11-21T11:00:00.000Z' } };
const command = { vm_id: 'vm-1', restore_points: 0, unfinished_backups: 0, removed_at: '2026-11-21T11:00:00.000Z' };

describe('removing a VM', () => {
  it('is possible without backups', () => {
    given(registered).when(command).then(removed);
  });

  it('is refused while restore points or unfinished backups exist', () => {
    given(registered)
      .when({ ...command, restore_points: 1 })
      .thenRefused('vm_has_backups');
    given(registered)
      .when({ ...command, unfinished_backups: 1 })
      .thenRefused('vm_has_backups');
  });

  it('is refused if the VM does not exist or has been removed', () => {
    given().when(command).thenRefused('vm_not_found');
    given(registered, removed).when(command).thenRefused('vm_not_found');
  });
});
