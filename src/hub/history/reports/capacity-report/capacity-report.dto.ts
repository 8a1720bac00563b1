import { IsIn } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { PeriodReportQuery } from '../model/report.dto.js';

const TABLES = ['vms', 'repositories'] as const;

export class CapacityReportQuery extends PeriodReportQuery {
  /** With `format=csv`: the table; default: `vms` */
  @Optional()
  @IsIn(TABLES)
  table?: (typeof TABLES)[number];
}
