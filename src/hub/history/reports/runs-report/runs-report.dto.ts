import { IsIn } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { PeriodReportQuery } from '../model/report.dto.js';

const TABLES = ['runs', 'failures'] as const;

export class RunsReportQuery extends PeriodReportQuery {
  /** With `format=csv`: the table; default: `runs` */
  @Optional()
  @IsIn(TABLES)
  table?: (typeof TABLES)[number];
}
