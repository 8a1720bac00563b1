import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { PlaceEvent } from '../model/place.events.js';
import { evolvePlace, initialPlaceState } from '../model/place.state.js';
import { decideSetPlace } from './set-place.decide.js';

const { given } = specificationOf({ initialState: initialPlaceState, evolve: evolvePlace, decide: decideSetPlace });
const wanted = { repository_id: 'r1', site: 'Berlin', off_site: true, medium: 'network_share', set_at: 'now' } as const;
const set: PlaceEvent = { type: 'RepositoryPlaceSet', data: wanted };

describe('stating where a repository is', () => {
  it('records it once', () => {
    given().when(wanted).then(set);
    given(set)
      .when({ ...wanted, set_at: 'later' })
      .then();
  });
  it.each([{ site: 'Bonn' }, { off_site: false }, { medium: 'tape' }] as const)('records a change: %j', (change) =>
    given(set)
      .when({ ...wanted, ...change })
      .then({ type: 'RepositoryPlaceSet', data: { ...wanted, ...change } }),
  );
});
