import { decidersOf } from '../../../../kernel/decider.js';
import type { PlaceEvent, RepositoryPlaceSet } from './place.events.js';

/** null: never set. */
export type PlaceState = RepositoryPlaceSet['data'] | null;

export const initialPlaceState: PlaceState = null;

export function evolvePlace(_state: PlaceState, event: PlaceEvent): PlaceState {
  return event.data;
}

export const placeDecider = decidersOf<PlaceState, PlaceEvent>(initialPlaceState, evolvePlace);
