import type { BlackoutReadModel } from '../../../../../projections/blackouts/blackouts.read-model.js';
import { StartWindowDto } from '../model/policy.dto.js';

export class BlackoutDatesResponse {
  /** @example "2026-12-24T16:00" */ readonly from!: string;
  /** @example "2026-12-27T00:00" */ readonly until!: string;
}

/** A shared blackout as all routes of the API show it. */
export class BlackoutResponse {
  /** @example "0199a3c0-7733-7c3e-8a55-9b1d3c1f0e5b" */ readonly blackout_id!: string;
  /** @example 1 */ readonly version!: number;
  /** @example "Christmas" */ readonly name!: string;
  /** @example "Europe/Berlin" */ readonly time_zone!: string;
  readonly effect!: 'defer' | 'skip';
  readonly dates!: BlackoutDatesResponse[];
  readonly weekly!: StartWindowDto[];
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** When this version was recorded @example "2026-11-21T10:30:00.000Z" */ readonly edited_at!: string;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}

export function toBlackoutResponse({ blackout_id, version, settings, created_at, edited_at, position }: BlackoutReadModel): BlackoutResponse {
  const { name, time_zone, effect, dates, weekly } = settings;
  const times = { created_at: created_at.toISOString(), edited_at: edited_at.toISOString() };
  return { blackout_id, version, name, time_zone, effect, dates: [...dates], weekly: [...weekly], ...times, position };
}
