import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import { type CapacityEvent, type CapacityLevel, type CapacityMeasured, type CapacityThresholds, DEFAULT_THRESHOLDS } from './capacity.events.js';

export type CapacityState = {
  readonly thresholds: CapacityThresholds;
  readonly level: CapacityLevel;
  /** As recorded last; null: never. */
  readonly measured: CapacityMeasured['data'] | null;
};

export const initialCapacityState: CapacityState = { thresholds: DEFAULT_THRESHOLDS, level: 'ok', measured: null };

export function evolveCapacity(state: CapacityState, event: CapacityEvent): CapacityState {
  switch (event.type) {
    case 'CapacityMeasured':
      return { ...state, measured: event.data };
    case 'CapacityLevelChanged':
      return { ...state, level: event.data.to };
    case 'CapacityThresholdsSet': {
      const { warning_percent, critical_percent } = event.data;
      return { ...state, thresholds: { warning_percent, critical_percent } };
    }
    default:
      return unknownVariant('capacity stream', event);
  }
}

export const capacityDecider = decidersOf<CapacityState, CapacityEvent>(initialCapacityState, evolveCapacity);
