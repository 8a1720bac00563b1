import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { ReportQuery } from '../model/report.dto.js';

export class ProtectionReportQuery extends ReportQuery {
  /** When ages are judged: not before the time of `as_of`, which is the default @example "2026-11-21T10:30:00Z" */
  @Optional()
  @IsInstant()
  at?: string;
}
