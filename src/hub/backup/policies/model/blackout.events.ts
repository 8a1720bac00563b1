import type { DomainEvent } from '../../../../kernel/event.js';
import type { StartWindow } from './policy.events.js';

/** A time without starts that policies refer to, by the clock of its zone. */
export type BlackoutSettings = {
  readonly name: string;
  readonly time_zone: string;
  /** Whether a run that is due within it starts at its end, or not at all. */
  readonly effect: 'defer' | 'skip';
  /** Wall times such as `2026-12-24T16:00`, without a zone. */
  readonly dates: readonly { readonly from: string; readonly until: string }[];
  /** Times of the day that come every week; each ends the next day if `until` is not after `from`. */
  readonly weekly: readonly StartWindow[];
};

export type BlackoutCreated = DomainEvent<
  'BlackoutCreated',
  { readonly blackout_id: string; readonly version: number; readonly settings: BlackoutSettings; readonly created_at: string }
>;
export type BlackoutEdited = DomainEvent<'BlackoutEdited', { readonly version: number; readonly settings: BlackoutSettings; readonly edited_at: string }>;
export type BlackoutDeleted = DomainEvent<'BlackoutDeleted', { readonly deleted_at: string }>;

/** Stream `blackout-<blackout_id>`. */
export type BlackoutEvent = BlackoutCreated | BlackoutEdited | BlackoutDeleted;

export function blackoutStream(blackoutId: string): string {
  return `blackout-${blackoutId}`;
}
