import { describe, it } from '@jest/globals';
import { copyHistories } from '../../../../../test/support/copy-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { evolveCopy, initialCopyState } from '../model/copy.state.js';
import { decideDeleteCopy } from './delete-copy.decide.js';

const { given } = specificationOf({ initialState: initialCopyState, evolve: evolveCopy, decide: decideDeleteCopy });
const command = { copy_id: 'c1', deleted_at: 'now', used_by: [] };

describe('deleting a copy', () => {
  it('is possible when it is complete and nothing uses it', () => {
    given(...copyHistories.completed)
      .when(command)
      .then({ type: 'CopyDeleted', data: { deleted_at: 'now' } });
  });

  it('is refused while something uses it', () => {
    given(...copyHistories.completed)
      .when({ ...command, used_by: ['copy c2'] })
      .thenRefused('copy_in_use', { copy_id: 'c1', used_by: ['copy c2'] });
  });

  it.each(['failed', 'cancelled', 'deleted'] as const)('changes nothing when it is %s, because nothing of it is left', (phase) => {
    given(...copyHistories[phase])
      .when(command)
      .then();
  });

  it('is refused while it is under way, and for a copy that does not exist', () => {
    given(...copyHistories.planned)
      .when(command)
      .thenRefused('copy_not_ended');
    given().when(command).thenRefused('copy_not_found');
  });
});
