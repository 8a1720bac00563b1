import { IsIn } from 'class-validator';
import { QueryBoolean } from '../../../operations/http/query-boolean.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const FORMATS = ['raw', 'qcow2'] as const;

export class DownloadDiskQuery {
  /** `qcow2` omits holes and zeroes */
  @Optional()
  @IsIn(FORMATS)
  format: (typeof FORMATS)[number] = 'raw';

  /** Download even if the restore point is known to be damaged, as far as it can be read */
  @Optional()
  @QueryBoolean()
  allow_damaged = false;
}
