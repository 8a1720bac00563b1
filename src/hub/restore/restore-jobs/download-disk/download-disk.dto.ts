import { IsIn } from 'class-validator';
import { QueryBoolean } from '../../../operations/http/query-boolean.decorator.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const FORMATS = ['raw', 'qcow2'] as const;

export class DownloadDiskQuery {
  /** `qcow2` omits holes and zeroes */
  @Optional()
  @IsIn(FORMATS)
  format: (typeof FORMATS)[number] = 'raw';

  /**
   * The repository to read: the one it was backed up to, or one that has a copy; absent: the first, or a copy if that is gone, does not answer or is damaged
   * @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03"
   */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** Download even if the restore point is known to be damaged, as far as it can be read */
  @Optional()
  @QueryBoolean()
  allow_damaged = false;
}
