import type { CapacityLevel, CapacityThresholds } from './capacity.events.js';

/** A level ends only this many percent below its threshold, so that a repository at a threshold does not alternate. */
const HYSTERESIS_PERCENT = 1;

export type Space = { readonly total_bytes: number; readonly free_bytes: number };

/** The share of the file system that the hub cannot use, or no longer, in percent; 100 of one without any space. */
export function usedPercent({ total_bytes, free_bytes }: Space): number {
  return total_bytes <= 0 ? 100 : (Math.max(0, total_bytes - free_bytes) / total_bytes) * 100;
}

export function levelOf(space: Space, { warning_percent, critical_percent }: CapacityThresholds, before: CapacityLevel): CapacityLevel {
  const used = usedPercent(space);
  const reached = (threshold: number, held: boolean): boolean => used >= (held ? threshold - HYSTERESIS_PERCENT : threshold);
  if (reached(critical_percent, before === 'critical')) return 'critical';
  return reached(warning_percent, before !== 'ok') ? 'warning' : 'ok';
}
