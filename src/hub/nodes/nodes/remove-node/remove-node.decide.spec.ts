import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { byAddress, enrolled, nodeStreamRules, paired, removed, revoked, rotating, secondsLater, started } from '../../../../../test/support/node-histories.js';
import { decideRemoveNode } from './remove-node.decide.js';

const { given } = specificationOf({ ...nodeStreamRules, decide: decideRemoveNode });
const command = { node_id: 'n1', vm_names: [], removed_at: secondsLater(200) };
const withVms = { ...command, vm_names: ['web1'] };

describe('removing a node that is registered by its address', () => {
  it('is possible without VMs', () => {
    given(byAddress).when(command).then(removed);
  });

  it('is refused while VMs refer to it, and says how many', () => {
    given(byAddress)
      .when({ ...command, vm_names: ['web1', 'web2'] })
      .thenRefused('node_in_use', { node_id: 'n1', vms: 2 });
  });

  it.each([
    [5, '"vm1", "vm2", "vm3", "vm4", "vm5". '],
    [6, '"vm1", "vm2", "vm3", "vm4", "vm5" and 1 more. '],
  ])('is refused with the names of five VMs at most: %d', (count, named) => {
    const vmNames = Array.from({ length: count }, (_, index) => `vm${index + 1}`);
    const state = nodeStreamRules.evolve(nodeStreamRules.initialState, byAddress);
    expect(() => decideRemoveNode({ ...command, vm_names: vmNames }, state)).toThrow(named);
  });
});

describe('removing an enrolled node', () => {
  it('revokes it, and forgets it when nothing refers to it', () => {
    given(started, paired, enrolled).when(command).then(revoked, removed);
    given(started, paired, enrolled, revoked).when(command).then(removed);
  });

  it('revokes it also while VMs refer to it, and keeps it for them', () => {
    given(started, paired, enrolled).when(withVms).then(revoked);
    given(started, paired, enrolled, rotating).when(withVms).then(revoked);
    given(started, paired, enrolled, revoked).when(withVms).thenRefused('node_in_use', { node_id: 'n1', vms: 1 });
  });

  it('takes back a code and a pairing, also of a node that VMs of an earlier enrolment refer to', () => {
    given(started).when(command).then(removed);
    given(started, paired).when(command).then(removed);
    given(started, paired, enrolled, revoked, started).when(withVms).then(revoked);
    given(started, paired, enrolled, revoked, started, paired).when(withVms).then(revoked);
  });
});

describe('removing a node that is not there', () => {
  it('is refused, also the second time', () => {
    given().when(command).thenRefused('node_not_found', { node_id: 'n1' });
    given(byAddress, removed).when(command).thenRefused('node_not_found', { node_id: 'n1' });
  });
});
