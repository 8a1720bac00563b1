import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { CapacityEvent } from '../model/capacity.events.js';
import { evolveCapacity, initialCapacityState } from '../model/capacity.state.js';
import { decideThresholds } from './set-thresholds.decide.js';

const { given } = specificationOf({ initialState: initialCapacityState, evolve: evolveCapacity, decide: decideThresholds });
const wanted = { repository_id: 'r1', warning_percent: 40, critical_percent: 95, set_at: '2027-01-05T12:00:00.000Z' };
const set: CapacityEvent = { type: 'CapacityThresholdsSet', data: wanted };
const measured: CapacityEvent = {
  type: 'CapacityMeasured',
  data: { repository_id: 'r1', total_bytes: 1000, free_bytes: 500, measured_at: '2027-01-05T11:00:00.000Z' },
};

describe('setting the thresholds of a repository', () => {
  it('records them once', () => {
    given().when(wanted).then(set);
    given(set).when(wanted).then();
  });

  it('records nothing for the defaults', () => {
    given()
      .when({ ...wanted, warning_percent: 80, critical_percent: 90 })
      .then();
  });

  it('refuses a critical level that is not above the warning', () => {
    given()
      .when({ ...wanted, critical_percent: 40 })
      .thenRefused('capacity_thresholds_invalid');
  });

  it('changes the level at once', () => {
    const { set_at: changed_at, ...thresholds } = wanted;
    given(measured)
      .when(wanted)
      .then(set, { type: 'CapacityLevelChanged', data: { ...thresholds, from: 'ok', to: 'warning', total_bytes: 1000, free_bytes: 500, changed_at } });
  });
});
