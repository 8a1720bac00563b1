import { IsBoolean, IsInt, Max, Min } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

export class RequestMountDto {
  /** A completed backup @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @IsUuid()
  readonly backup_id!: string;

  /**
   * The repository to read: the one it was backed up to, or one that has a copy; absent: the first, or a copy if that is gone, does not answer or is damaged
   * @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03"
   */
  @Optional()
  @IsUuid()
  readonly repository_id?: string;

  /** Index of the disk in the restore point, from 0 @example 0 */
  @IsInt()
  @Min(0)
  @Max(4095)
  readonly disk_index!: number;

  /** Number of the partition, as in `partitions` of a mount; absent: the largest file system that can be mounted @example 1 */
  @Optional()
  @IsInt()
  @Min(0)
  @Max(65_535)
  readonly partition?: number;

  /** Mount the disk even if the restore point is known to be damaged, as far as it can be read @default false */
  @Optional()
  @IsBoolean()
  readonly allow_damaged?: boolean;
}
