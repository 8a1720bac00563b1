import { Type } from 'class-transformer';
import { IsInt, Max, Min } from 'class-validator';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { ReportQuery } from '../model/report.dto.js';

export class ThreeTwoOneReportQuery extends ReportQuery {
  /** When ages are judged: not before the time of `as_of`, which is the default @example "2026-11-21T10:30:00Z" */
  @Optional()
  @IsInstant()
  at?: string;

  /** Only restore points whose instant is at most this long before count, so that the newest one has time to be copied @example 48 */
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(8_784)
  within_hours = 48;
}
