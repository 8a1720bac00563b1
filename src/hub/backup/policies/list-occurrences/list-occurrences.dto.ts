import { IsIn } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { PageQuery } from '../../../operations/http/cursor-page.js';

const OUTCOMES = ['started', 'caught_up', 'skipped', 'missed'] as const;

export class ListOccurrencesQuery extends PageQuery {
  /** Only runs that ended like this */
  @Optional()
  @IsIn(OUTCOMES)
  outcome?: (typeof OUTCOMES)[number];
}
