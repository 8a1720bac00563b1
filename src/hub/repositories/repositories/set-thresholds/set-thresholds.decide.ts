import { DomainError } from '../../../../kernel/domain-error.js';
import { levelOf } from '../model/capacity-level.plan.js';
import type { CapacityEvent, CapacityThresholdsSet } from '../model/capacity.events.js';
import type { CapacityState } from '../model/capacity.state.js';

/** The new thresholds apply to the last recorded measurement at once. @throws DomainError capacity_thresholds_invalid */
export function decideThresholds(wanted: CapacityThresholdsSet['data'], { thresholds, level, measured }: CapacityState): readonly CapacityEvent[] {
  const { repository_id, warning_percent, critical_percent, set_at } = wanted;
  if (critical_percent <= warning_percent) {
    const message = `critical_percent must be greater than warning_percent, which is ${warning_percent}.`;
    throw new DomainError('invalid', 'capacity_thresholds_invalid', message, { warning_percent, critical_percent });
  }
  if (thresholds.warning_percent === warning_percent && thresholds.critical_percent === critical_percent) return [];
  const set: CapacityEvent = { type: 'CapacityThresholdsSet', data: wanted };
  const to = measured === null ? level : levelOf(measured, wanted, level);
  if (measured === null || to === level) return [set];
  const { total_bytes, free_bytes } = measured;
  const changed = { repository_id, from: level, to, warning_percent, critical_percent, total_bytes, free_bytes, changed_at: set_at };
  return [set, { type: 'CapacityLevelChanged', data: changed }];
}
