import { IsInstant } from '../../../../contract/validation/instant.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class GetBackupQuery {
  /** Show the backup as it was at this time @example "2026-11-21T10:30:30Z" */
  @Optional()
  @IsInstant()
  as_of?: string;
}
