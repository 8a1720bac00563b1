import type { DomainEvent } from '../../../../kernel/event.js';

/** How full a repository is, by its thresholds. */
export type CapacityLevel = 'ok' | 'warning' | 'critical';

/** In percent of the file system's size that the hub cannot use, or no longer. */
export type CapacityThresholds = { readonly warning_percent: number; readonly critical_percent: number };

export const DEFAULT_THRESHOLDS: CapacityThresholds = { warning_percent: 80, critical_percent: 90 };

/** The space of the file system that holds a repository. Small changes are not recorded: see decideMeasurement. */
export type CapacityMeasured = DomainEvent<
  'CapacityMeasured',
  {
    readonly repository_id: string;
    readonly total_bytes: number;
    /** Available to the hub. */
    readonly free_bytes: number;
    readonly measured_at: string;
  }
>;

/** A threshold was crossed, in either direction. */
export type CapacityLevelChanged = DomainEvent<
  'CapacityLevelChanged',
  CapacityThresholds & {
    readonly repository_id: string;
    readonly from: CapacityLevel;
    readonly to: CapacityLevel;
    readonly total_bytes: number;
    readonly free_bytes: number;
    readonly changed_at: string;
  }
>;

export type CapacityThresholdsSet = DomainEvent<'CapacityThresholdsSet', CapacityThresholds & { readonly repository_id: string; readonly set_at: string }>;

/** Stream `capacity-<repository_id>`. */
export type CapacityEvent = CapacityMeasured | CapacityLevelChanged | CapacityThresholdsSet;

export function capacityStream(repositoryId: string): string {
  return `capacity-${repositoryId}`;
}
