import { IsString, Length } from 'class-validator';
import type { JsonObject } from '../../../../kernel/json.js';
import { HistoryEventResponse } from '../time-travel.response.js';

export class DiffQuery {
  /** The earlier instant, a time or a position @example "2026-11-21T10:30:00Z" */
  @IsString()
  @Length(1, 64)
  from!: string;

  /** The later instant, a time or a position @example "2026-11-21T10:40:00Z" */
  @IsString()
  @Length(1, 64)
  to!: string;
}

export class InstantResponse {
  /** Position of the last event at the instant; null: before the first event @example "0000000000000000042" */
  readonly position!: string | null;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly time!: string;
}

export class ChangeResponse {
  /** Name of the read model @example "backups" */ readonly kind!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly id!: string;
  readonly change!: 'added' | 'removed' | 'changed';
  /** At `from`: the columns that differ; null if it was added @example {"status":"running"} */
  readonly before!: JsonObject | null;
  /** At `to`: the columns that differ; null if it was removed @example {"status":"completed"} */
  readonly after!: JsonObject | null;
  /** Events in between that touched it, oldest first */ readonly events!: HistoryEventResponse[];
}

export class HistoryDiffResponse {
  readonly from!: InstantResponse;
  readonly to!: InstantResponse;
  /** By kind */ readonly changes!: ChangeResponse[];
}
