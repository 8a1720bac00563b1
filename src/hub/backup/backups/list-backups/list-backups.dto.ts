import { IsIn, IsString, Length } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const TYPES = ['full', 'incremental', 'auto'] as const;
const STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled', 'deleted'] as const;

export class ListBackupsQuery extends PageQuery {
  /** Only backups of VMs with this name @example "pgtest1" */
  @Optional()
  @IsString()
  @Length(1, 255)
  vm_name?: string;

  /** Only backups of this VM @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */
  @Optional()
  @IsUuid()
  vm_id?: string;

  /** Only backups in this repository @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** Only backups of this type; `auto` selects backups that are not planned yet */
  @Optional()
  @IsIn(TYPES)
  backup_type?: (typeof TYPES)[number];

  /** Only backups with this status */
  @Optional()
  @IsIn(STATUSES)
  status?: (typeof STATUSES)[number];

  /** Only backups requested at this time or later @example "2026-11-21T00:00:00Z" */
  @Optional()
  @IsInstant()
  since?: string;

  /** Only backups requested before this time @example "2026-11-22T00:00:00Z" */
  @Optional()
  @IsInstant()
  until?: string;
}
