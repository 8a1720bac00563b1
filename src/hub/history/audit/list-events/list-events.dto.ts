import { IsIn, IsString, Length } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const ORDERS = ['newest_first', 'oldest_first'];

export class ListEventsQuery extends PageQuery {
  /** Only events of this stream @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsString()
  @Length(1, 512)
  stream?: string;

  /** The stream name up to its first dash @example "backup" */
  @Optional()
  @IsString()
  @Length(1, 255)
  category?: string;

  /** Only events of this type @example "BackupCompleted" */
  @Optional()
  @IsString()
  @Length(1, 255)
  type?: string;

  /** Only events caused by this actor: `api:<token>`, `node:<node id>` or `system:<part>` @example "api:token" */
  @Optional()
  @IsString()
  @Length(1, 255)
  actor?: string;

  /** Only events that resulted from this request @example "0199a3c4-7c00-7000-8000-000000000001" */
  @Optional()
  @IsUuid()
  correlation_id?: string;

  /** Decided at this time or later @example "2026-11-21T00:00:00Z" */
  @Optional()
  @IsInstant()
  since?: string;

  /** Decided before this time @example "2026-11-22T00:00:00Z" */
  @Optional()
  @IsInstant()
  until?: string;

  /** Sort order */
  @Optional()
  @IsIn(ORDERS)
  order: 'newest_first' | 'oldest_first' = 'newest_first';
}
