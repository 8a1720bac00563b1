import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { CapacityEvent } from './capacity.events.js';
import { evolveCapacity, initialCapacityState } from './capacity.state.js';
import { decideMeasurement } from './capacity-measurement.decide.js';

const { given } = specificationOf({ initialState: initialCapacityState, evolve: evolveCapacity, decide: decideMeasurement });
const space = (free_bytes: number, measured_at = '2027-01-05T12:00:00.000Z', total_bytes = 1000) => ({
  repository_id: 'r1',
  total_bytes,
  free_bytes,
  measured_at,
});
const measured = (...of: Parameters<typeof space>): CapacityEvent => ({ type: 'CapacityMeasured', data: space(...of) });
const changed = (from: 'ok' | 'warning', to: 'ok' | 'warning', free_bytes: number): CapacityEvent => ({
  type: 'CapacityLevelChanged',
  data: {
    repository_id: 'r1',
    from,
    to,
    warning_percent: 80,
    critical_percent: 90,
    total_bytes: 1000,
    free_bytes,
    changed_at: '2027-01-05T12:00:00.000Z',
  },
});

describe('a measurement', () => {
  it('is recorded the first time, and not again while nothing changes', () => {
    given().when(space(500)).then(measured(500));
    given(measured(500)).when(space(500)).then();
    given(measured(500)).when(space(509, '2027-01-06T11:59:59.999Z')).then();
  });

  it('is recorded for a change of one percent, for another size, and after a day', () => {
    given(measured(500)).when(space(490)).then(measured(490));
    given(measured(500))
      .when(space(500, undefined, 1001))
      .then(measured(500, undefined, 1001));
    given(measured(500)).when(space(500, '2027-01-06T12:00:00.000Z')).then(measured(500, '2027-01-06T12:00:00.000Z'));
  });

  it('adds up small changes', () => {
    given(measured(500), measured(491)).when(space(481)).then(measured(481));
  });

  it('records the crossing of a threshold once, and the way back', () => {
    given(measured(204))
      .when(space(199))
      .then(measured(199), changed('ok', 'warning', 199));
    given(measured(199), changed('ok', 'warning', 199))
      .when(space(199))
      .then();
    given(measured(199), changed('ok', 'warning', 199))
      .when(space(300))
      .then(measured(300), changed('warning', 'ok', 300));
  });
});
