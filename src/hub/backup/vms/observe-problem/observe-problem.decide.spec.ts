import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { VmEvent } from '../model/vm.events.js';
import { evolveVm, initialVmState } from '../model/vm.state.js';
import { decideObserveProblem } from './observe-problem.decide.js';

const { given } = specificationOf({ initialState: initialVmState, evolve: evolveVm, decide: decideObserveProblem });
const registered: VmEvent = {
  type: 'VmRegistered',
  data: { vm_id: 'v', name: 'v', node_id: 'n', source: 'libvirt', source_ref: 'u', disks: [], registered_at: 'then' },
};
const problem = { code: 'backup_job_lost', detail: 'Shut it down.' };
const found: VmEvent = { type: 'VmProblemFound', data: { ...problem, found_at: 'then' } };

describe('a problem that prevents backups of a VM', () => {
  it('is recorded when it is found and when it is solved', () => {
    given(registered)
      .when({ problem, observed_at: 'now' })
      .then({ type: 'VmProblemFound', data: { ...problem, found_at: 'now' } });
    given(registered, found)
      .when({ problem: null, observed_at: 'now' })
      .then({ type: 'VmProblemSolved', data: { code: 'backup_job_lost', solved_at: 'now' } });
  });

  it('is recorded once, and not for a VM that is not registered', () => {
    given(registered, found).when({ problem, observed_at: 'now' }).then();
    given(registered).when({ problem: null, observed_at: 'now' }).then();
    given(registered, found, { type: 'VmRemoved', data: { removed_at: 'then' } })
      .when({ problem: null, observed_at: 'now' })
      .then();
  });
});
