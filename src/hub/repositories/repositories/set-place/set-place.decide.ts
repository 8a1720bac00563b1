import type { PlaceEvent, RepositoryPlaceSet } from '../model/place.events.js';
import type { PlaceState } from '../model/place.state.js';

/** The same place again is not recorded. */
export function decideSetPlace(wanted: RepositoryPlaceSet['data'], state: PlaceState): readonly PlaceEvent[] {
  const { site, off_site, medium } = wanted;
  if (state !== null && state.site === site && state.off_site === off_site && state.medium === medium) return [];
  return [{ type: 'RepositoryPlaceSet', data: wanted }];
}
