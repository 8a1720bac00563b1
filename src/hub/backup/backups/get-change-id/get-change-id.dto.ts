import { Type } from 'class-transformer';
import { IsInt, IsString, Length, Max, Min } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class GetChangeIdQuery {
  /** Name of the VM @example "pgtest1" */
  @IsString()
  @Length(1, 255)
  vm_name!: string;

  /** Index of the disk, from 0, in the order of the source @example 0 */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(1000)
  disk_id!: number;

  /** Only backups in this repository; each repository has its own chain @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */
  @Optional()
  @IsUuid()
  repository_id?: string;
}

export class ChangeIdResponse {
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @example 0 */ readonly disk_id!: number;
  /** @example "disk0.qcow2" */ readonly disk_key!: string;
  /** Identifies, at the source, all changes since that backup @example "sendense-0e5b7a11" */
  readonly change_id!: string;
  /** The backup that committed it @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
}
