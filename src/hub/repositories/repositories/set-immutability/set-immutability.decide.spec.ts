import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { type ImmutabilityMode, localLocation, type RepositoryEvent } from '../model/repository.events.js';
import { evolveRepository, initialRepositoryState } from '../model/repository.state.js';
import { decideImmutability } from './set-immutability.decide.js';

const { given } = specificationOf({ initialState: initialRepositoryState, evolve: evolveRepository, decide: decideImmutability });
const created: RepositoryEvent = {
  type: 'RepositoryCreatedV2',
  data: { repository_id: 'r1', name: 'main', location: localLocation('/srv/backups'), created_at: '2027-01-05T12:00:00.000Z' },
};
const wanted = (mode: ImmutabilityMode, days: number) => ({ repository_id: 'r1', mode, days, set_at: 'now' });
const set = (mode: ImmutabilityMode, days: number): RepositoryEvent => ({ type: 'RepositoryImmutabilitySet', data: { mode, days, set_at: 'now' } });

describe('the immutability of a repository', () => {
  it('is recorded once', () => {
    given(created).when(wanted('advisory', 7)).then(set('advisory', 7));
    given(created, set('advisory', 7)).when(wanted('advisory', 7)).then();
    given(created).when(wanted('none', 0)).then();
  });

  it('can be shortened or ended while it is advisory', () => {
    given(created, set('advisory', 7)).when(wanted('advisory', 1)).then(set('advisory', 1));
    given(created, set('advisory', 7)).when(wanted('none', 0)).then(set('none', 0));
    given(created, set('advisory', 30)).when(wanted('enforced', 7)).then(set('enforced', 7));
  });

  it('only becomes longer once it is enforced', () => {
    given(created, set('enforced', 7)).when(wanted('enforced', 8)).then(set('enforced', 8));
    for (const less of [wanted('enforced', 6), wanted('advisory', 30), wanted('none', 0)]) {
      given(created, set('enforced', 7)).when(less).thenRefused('immutability_only_lengthens');
    }
  });

  it('has days if and only if there is a mode', () => {
    given(created).when(wanted('none', 1)).thenRefused('immutability_invalid');
    given(created).when(wanted('enforced', 0)).thenRefused('immutability_invalid');
  });

  it('is refused for a repository that does not exist, or no more', () => {
    given().when(wanted('advisory', 7)).thenRefused('repository_not_found');
    given(created, { type: 'RepositoryDeleted', data: { deleted_at: 'then' } })
      .when(wanted('advisory', 7))
      .thenRefused('repository_not_found');
  });
});
