import { IsIn } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const STATUSES = ['active', 'mounting', 'mounted', 'unmounting', 'failed', 'released', 'all'] as const;

export class ListMountsQuery extends PageQuery {
  /** `active`: mounting, mounted and unmounting @default "active" */
  @Optional()
  @IsIn(STATUSES)
  status?: (typeof STATUSES)[number];

  /** Only mounts of this restore point @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  backup_id?: string;
}
