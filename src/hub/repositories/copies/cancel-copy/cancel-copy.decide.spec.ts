import { describe, it } from '@jest/globals';
import { copyHistories } from '../../../../../test/support/copy-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { evolveCopy, initialCopyState } from '../model/copy.state.js';
import { decideCancelCopy } from './cancel-copy.decide.js';

const { given } = specificationOf({ initialState: initialCopyState, evolve: evolveCopy, decide: decideCancelCopy });
const command = { copy_id: 'c1', cancelled_at: 'now' };

describe('cancelling a copy', () => {
  it.each(['requested', 'planned', 'interrupted', 'verified'] as const)('is possible when it is %s', (phase) => {
    given(...copyHistories[phase])
      .when(command)
      .then({ type: 'CopyCancelled', data: { cancelled_at: 'now' } });
  });

  it('changes nothing the second time', () => {
    given(...copyHistories.cancelled)
      .when(command)
      .then();
  });

  it.each(['completed', 'failed', 'deleted'] as const)('is refused when it is %s', (phase) => {
    given(...copyHistories[phase])
      .when(command)
      .thenRefused('copy_already_ended');
  });

  it('is refused for a copy that does not exist', () => {
    given().when(command).thenRefused('copy_not_found');
  });
});
