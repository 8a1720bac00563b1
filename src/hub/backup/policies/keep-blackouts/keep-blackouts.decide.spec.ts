import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { BlackoutEvent, BlackoutSettings } from '../model/blackout.events.js';
import { evolveBlackout, initialBlackoutState } from '../model/blackout.state.js';
import { type BlackoutCommand, decideBlackout } from './keep-blackouts.decide.js';

const { given } = specificationOf({ initialState: initialBlackoutState, evolve: evolveBlackout, decide: decideBlackout });
const at = '2027-01-01T12:00:00.000Z';
const settings: BlackoutSettings = {
  name: 'Christmas',
  time_zone: 'Europe/Berlin',
  effect: 'skip',
  dates: [{ from: '2027-12-24T16:00', until: '2027-12-27T00:00' }],
  weekly: [],
};
const created: BlackoutEvent = { type: 'BlackoutCreated', data: { blackout_id: 'x1', version: 1, settings, created_at: at } };
const create: BlackoutCommand = { kind: 'create', blackout_id: 'x1', version: 0, settings, other_names: ['Audit'], at };
const edit: BlackoutCommand = { ...create, kind: 'edit', version: 1, settings: { ...settings, effect: 'defer' } };
const remove: BlackoutCommand = { kind: 'delete', blackout_id: 'x1', policies: [], at };
const deleted: BlackoutEvent = { type: 'BlackoutDeleted', data: { deleted_at: at } };

describe('a shared blackout', () => {
  it('is created, edited and deleted', () => {
    given().when(create).then(created);
    given(created)
      .when(edit)
      .then({ type: 'BlackoutEdited', data: { version: 2, settings: { ...settings, effect: 'defer' }, edited_at: at } });
    given(created).when(remove).then(deleted);
  });

  it('needs a name of its own, a known zone, and times that exist', () => {
    const with_ = (change: Partial<BlackoutSettings>): BlackoutCommand => ({ ...create, settings: { ...settings, ...change } });
    given()
      .when(with_({ name: 'Audit' }))
      .thenRefused('blackout_name_taken');
    given()
      .when(with_({ time_zone: 'Mars/Olympus' }))
      .thenRefused('time_zone_unknown');
    given()
      .when(with_({ dates: [] }))
      .thenRefused('blackout_invalid');
    given()
      .when(with_({ dates: [{ from: '2027-02-30T00:00', until: '2027-03-02T00:00' }] }))
      .thenRefused('blackout_invalid');
    given()
      .when(with_({ dates: [{ from: '2027-03-02T00:00', until: '2027-03-02T00:00' }] }))
      .thenRefused('blackout_invalid');
  });

  it('is edited only from its current version, and not deleted while policies use it', () => {
    given(created)
      .when({ ...edit, version: 2 })
      .thenRefused('blackout_changed');
    given(created)
      .when({ ...remove, policies: ['nightly'] })
      .thenRefused('blackout_used_by_policies');
    given(created, deleted).when(edit).thenRefused('blackout_not_found');
    given(created, deleted).when(remove).thenRefused('blackout_not_found');
  });
});
