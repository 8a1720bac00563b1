import { IsIn } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { PeriodReportQuery } from '../model/report.dto.js';

const TABLES = ['policies', 'deletions', 'protections', 'accesses'] as const;

export class ChangesReportQuery extends PeriodReportQuery {
  /** With `format=csv`: the table; default: `policies` */
  @Optional()
  @IsIn(TABLES)
  table?: (typeof TABLES)[number];
}
