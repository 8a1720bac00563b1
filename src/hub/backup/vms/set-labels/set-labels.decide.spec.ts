import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { VmEvent } from '../model/vm.events.js';
import { evolveVm, initialVmState } from '../model/vm.state.js';
import { decideSetLabels } from './set-labels.decide.js';

const { given } = specificationOf({ initialState: initialVmState, evolve: evolveVm, decide: decideSetLabels });
const registered: VmEvent = {
  type: 'VmRegistered',
  data: { vm_id: 'v', name: 'v', node_id: 'n', source: 'image', source_ref: '/v', disks: [], registered_at: 'then' },
};
const set = (...labels: readonly string[]): VmEvent => ({ type: 'VmLabelsSet', data: { labels, set_at: 'now' } });
const command = (...labels: readonly string[]) => ({ vm_id: 'v', labels, set_at: 'now' });

describe('the labels of a VM', () => {
  it('are replaced, and recorded in order', () => {
    given(registered).when(command('tier=gold', 'env=prod')).then(set('env=prod', 'tier=gold'));
    given(registered, set('env=prod')).when(command()).then(set());
  });

  it('are not recorded if they are set already', () => {
    given(registered).when(command()).then();
    given(registered, set('env=prod', 'tier=gold')).when(command('tier=gold', 'env=prod')).then();
  });

  it('are refused for a VM that is not registered', () => {
    given().when(command('a')).thenRefused('vm_not_found');
    given(registered, { type: 'VmRemoved', data: { removed_at: 'then' } })
      .when(command('a'))
      .thenRefused('vm_not_found');
  });
});
