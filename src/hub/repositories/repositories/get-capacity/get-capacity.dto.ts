import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import type { CapacityForecast, NoForecast } from '../model/capacity-forecast.plan.js';
import { CapacityResponse } from '../model/capacity.response.js';

export class CapacityQuery {
  /** Only measurements from then on; default: 30 days before the newest one @example "2026-11-01T00:00:00Z" */
  @Optional()
  @IsInstant()
  since?: string;

  /** Only measurements before @example "2026-12-01T00:00:00Z" */
  @Optional()
  @IsInstant()
  until?: string;
}

export class ThresholdsResponse {
  /** @example 80 */ readonly warning_percent!: number;
  /** @example 90 */ readonly critical_percent!: number;
}

export class ForecastResponse implements CapacityForecast {
  /** The median of the growth between all pairs of days of the last 30, each with its last measurement */
  readonly method!: 'theil_sen';
  /** @example 30 */ readonly days_measured!: number;
  /** null: too few days @example 1073741824 */ readonly growth_bytes_per_day!: number | null;
  /** Day when the repository is full, in UTC; null: `reason` says why there is none @example "2027-03-14" */ readonly full_on!: string | null;
  /** Fewer than five days measured, no growth, or not full within ten years; null: there is a day @example null */ readonly reason!: NoForecast | null;
}

export class MeasurementResponse {
  /** @example 107374182400 */ readonly total_bytes!: number;
  /** @example 42949672960 */ readonly free_bytes!: number;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly measured_at!: string;
}

export class RepositoryCapacityDto {
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** null: not measured yet */ readonly capacity!: CapacityResponse | null;
  /** When the level began; null: it was always `ok` @example null */ readonly level_since!: string | null;
  readonly thresholds!: ThresholdsResponse;
  readonly forecast!: ForecastResponse;
  /** Newest first, at most 1000 */ readonly measurements!: readonly MeasurementResponse[];
  /** Whether older measurements of the period were left out */ readonly truncated!: boolean;
}
