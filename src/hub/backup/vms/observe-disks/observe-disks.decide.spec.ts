import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { VmDisk, VmEvent } from '../model/vm.events.js';
import { evolveVm, initialVmState } from '../model/vm.state.js';
import { decideObserveDisks } from './observe-disks.decide.js';

const { given } = specificationOf({ initialState: initialVmState, evolve: evolveVm, decide: decideObserveDisks });
const disk: VmDisk = { disk_id: 0, disk_key: 'a.qcow2', size_bytes: 10, format: 'qcow2', change_tracking: true };
const registered: VmEvent = {
  type: 'VmRegistered',
  data: { vm_id: 'v', name: 'v', node_id: 'n', source: 'image', source_ref: '/v', disks: [disk], registered_at: 'then' },
};

describe('the disks of a VM', () => {
  it('are recorded again when one is added, removed or resized', () => {
    for (const disks of [[], [disk, { ...disk, disk_id: 1, disk_key: 'b.qcow2' }], [{ ...disk, size_bytes: 11 }]]) {
      given(registered)
        .when({ disks, observed_at: 'now' })
        .then({ type: 'VmDisksChanged', data: { disks, observed_at: 'now' } });
    }
  });

  it('are not recorded if they are unchanged, or if the VM is not registered', () => {
    given(registered)
      .when({ disks: [disk], observed_at: 'now' })
      .then();
    given()
      .when({ disks: [disk], observed_at: 'now' })
      .then();
    given(registered, { type: 'VmRemoved', data: { removed_at: 'then' } })
      .when({ disks: [], observed_at: 'now' })
      .then();
  });
});
