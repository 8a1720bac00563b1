import { IsIn } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';
import { PageQuery } from '../../../operations/http/cursor-page.js';

const STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled', 'deleted'] as const;

export class ListCopiesQuery extends PageQuery {
  /** Only copies of restore points of this VM @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */
  @Optional()
  @IsUuid()
  vm_id?: string;

  /** Only copies in this repository @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** Only copies with this status */
  @Optional()
  @IsIn(STATUSES)
  status?: (typeof STATUSES)[number];
}
