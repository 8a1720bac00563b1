import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { VmRegistered } from '../model/vm.events.js';
import { evolveVm, initialVmState } from '../model/vm.state.js';
import { decideRegisterVm, type RegisterVmData } from './register-vm.decide.js';

const { given } = specificationOf({ initialState: initialVmState, evolve: evolveVm, decide: decideRegisterVm });

const vm: VmRegistered['data'] = {
  vm_id: 'vm-1',
  name: 'pgtest1',
  node_id: 'node-1',
  source: 'image',
  source_ref: '/images/pgtest1',
  disks: [{ disk_id: 0, disk_key: 'disk0.qcow2', size_bytes: 1024, format: 'qcow2', change_tracking: true }],
  registered_at: '2026-11-21T10:15:00.000Z',
};
const command: RegisterVmData = { vm, name_holder: null, source_holder: null };

describe('registering a VM', () => {
  it('records it as its node describes it', () => {
    given().when(command).then({ type: 'VmRegistered', data: vm });
  });

  it('changes nothing when the same command is repeated', () => {
    given({ type: 'VmRegistered', data: vm })
      .when({ ...command, name_holder: 'vm-2' })
      .then();
  });

  it('refuses a VM without disks', () => {
    given()
      .when({ ...command, vm: { ...vm, disks: [] } })
      .thenRefused('vm_without_disks');
  });

  it('refuses a name that another VM has', () => {
    given()
      .when({ ...command, name_holder: 'vm-2' })
      .thenRefused('vm_name_taken');
  });

  it('refuses a source that is already registered', () => {
    given()
      .when({ ...command, source_holder: { vm_id: 'vm-2', name: 'other' } })
      .thenRefused('vm_already_registered');
  });

  it('reports a VM registered again under its own name as already registered, not its name as taken', () => {
    const holder = { vm_id: 'vm-2', name: vm.name };
    given()
      .when({ ...command, name_holder: holder.vm_id, source_holder: holder })
      .thenRefused('vm_already_registered');
  });

  it('refuses a name that breaks a rule', () => {
    given()
      .when({ ...command, vm: { ...vm, name: '../x' } })
      .thenRefused('vm_name_invalid');
  });
});
