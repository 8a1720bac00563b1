import { levelOf } from './capacity-level.plan.js';
import type { CapacityEvent, CapacityMeasured } from './capacity.events.js';
import type { CapacityState } from './capacity.state.js';

/** A change of the free space by this share of the total is recorded. */
const NOTEWORTHY_SHARE = 0.01;
const DAY_MS = 86_400_000;

/**
 * Records a measurement if it is the first, if the level or the size of the file system changed, if the free space changed by at least 1 % of the total since
 * the last recorded one, or if that one is a day old. A repository thus adds one event a day, and one for each percent that is written or removed.
 */
export function decideMeasurement(space: CapacityMeasured['data'], { measured, thresholds, level }: CapacityState): readonly CapacityEvent[] {
  const to = levelOf(space, thresholds, level);
  const { repository_id, total_bytes, free_bytes, measured_at } = space;
  const same =
    measured !== null &&
    to === level &&
    measured.total_bytes === total_bytes &&
    Math.abs(measured.free_bytes - free_bytes) < NOTEWORTHY_SHARE * total_bytes &&
    Math.abs(Date.parse(measured_at) - Date.parse(measured.measured_at)) < DAY_MS;
  if (same) return [];
  const recorded: CapacityEvent = { type: 'CapacityMeasured', data: space };
  if (to === level) return [recorded];
  return [
    recorded,
    { type: 'CapacityLevelChanged', data: { repository_id, from: level, to, ...thresholds, total_bytes, free_bytes, changed_at: measured_at } },
  ];
}
