import type { RepositoryCapacityReadModel } from '../../../../../projections/repository-capacity/repository-capacity.read-model.js';
import { usedPercent } from './capacity-level.plan.js';
import type { CapacityLevel } from './capacity.events.js';

/** The space of the file system that holds a repository, as recorded last. */
export class CapacityResponse {
  /** @example 107374182400 */ readonly total_bytes!: number;
  /** Available to the hub @example 42949672960 */ readonly free_bytes!: number;
  /** @example 60 */ readonly used_percent!: number;
  /** By the thresholds of the repository */ readonly level!: CapacityLevel;
  /** A later change of less than 1 % of the total is not recorded for up to a day @example "2026-11-21T10:30:00.000Z" */ readonly measured_at!: string;
}

/** @returns null before the first measurement */
export function toCapacityResponse(row: RepositoryCapacityReadModel | null): CapacityResponse | null {
  if (row === null || row.total_bytes === null || row.free_bytes === null || row.measured_at === null) return null;
  const space = { total_bytes: Number(row.total_bytes), free_bytes: Number(row.free_bytes) };
  return { ...space, used_percent: Math.round(usedPercent(space) * 10) / 10, level: row.level, measured_at: row.measured_at.toISOString() };
}
