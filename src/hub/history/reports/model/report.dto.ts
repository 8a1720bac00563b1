import { IsIn } from 'class-validator';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import type { JsonObject } from '../../../../kernel/json.js';
import type { ValueUnit } from '../../../../kernel/value-text.js';

export const FORMATS = ['json', 'csv', 'html'] as const;

export class ReportQuery {
  /** `csv`: one table of the report; `html`: a page to read and print */
  @Optional()
  @IsIn(FORMATS)
  format: (typeof FORMATS)[number] = 'json';
}

export class PeriodReportQuery extends ReportQuery {
  /** Begin of the period, inclusive; default: 30 days before its end @example "2026-11-01T00:00:00Z" */
  @Optional()
  @IsInstant()
  from?: string;

  /** End of the period, exclusive; default: the time of `as_of`, or now @example "2026-12-01T00:00:00Z" */
  @Optional()
  @IsInstant()
  until?: string;
}

export class ReportColumnResponse {
  /** Member of the rows @example "age_seconds" */ readonly name!: string;
  /** @example "Age" */ readonly heading!: string;
  readonly unit!: ValueUnit;
}

export class ReportTableResponse {
  /** Member of `tables` @example "vms" */ readonly name!: string;
  /** @example "VMs" */ readonly heading!: string;
  readonly columns!: ReportColumnResponse[];
}

export class ReportLayoutResponse {
  /** @example "Protection of VMs" */ readonly title!: string;
  readonly totals!: ReportColumnResponse[];
  readonly tables!: ReportTableResponse[];
}

export class ReportResponse {
  /** @example "protection" */ readonly report!: string;
  /** Version of the definition of its values @example 1 */ readonly version!: number;
  /**
   * Parameters that give the same report again. `as_of` is the position of the last event that it was computed from, or a time before the first event
   * @example {"as_of":"0000000000000000042","at":"2026-11-21T10:30:00.000Z"}
   */
  readonly query!: JsonObject;
  /** @example {"vms":1,"broken":0} */ readonly totals!: JsonObject;
  /** Rows of each table @example {"vms":[{"vm":"pgtest1","status":"kept"}]} */ readonly tables!: JsonObject;
  /** How people read the values */ readonly layout!: ReportLayoutResponse;
  /**
   * SHA-256 of `report`, `version`, `query`, `totals` and `tables` as canonical JSON (RFC 8785)
   * @example "9b1d3c1f0e5b9b1d3c1f0e5b9b1d3c1f0e5b9b1d3c1f0e5b9b1d3c1f0e5b9b1d"
   */
  readonly sha256!: string;
}
