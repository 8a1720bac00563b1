import { ArrayMaxSize, ArrayMinSize, IsBoolean, IsIn, IsInt, IsString, Matches, MaxLength, Min } from 'class-validator';
import type { RestoreFormat, RestoreShape } from '../model/restore-job.events.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const FORMATS: readonly RestoreFormat[] = ['raw', 'qcow2', 'vmdk'];
const SHAPES: readonly RestoreShape[] = ['flattened', 'chain'];

export class StartRestoreRequest {
  /** The restore point: any completed backup @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @IsUuid()
  backup_id!: string;

  /**
   * The repository to read: the one it was backed up to, or one that has a copy; absent: the first, or a copy if that is gone, does not answer or is damaged
   * @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03"
   */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** Indexes of the disks, from 0; absent: all disks @example [0] */
  @Optional()
  @ArrayMinSize(1)
  @ArrayMaxSize(1000)
  @IsInt({ each: true })
  @Min(0, { each: true })
  disks?: number[];

  /** Absolute path of an existing directory on the hub @example "/srv/restore" */
  @IsString()
  @MaxLength(3800)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'target_path must be an absolute path without control characters' })
  target_path!: string;

  @IsIn(FORMATS)
  format!: RestoreFormat;

  /** `flattened`: one file per disk. `chain`: the full backup and each incremental as a chain of backing files; qcow2 only */
  @Optional()
  @IsIn(SHAPES)
  chain: RestoreShape = 'flattened';

  /** Whether to replace existing files of the same names */
  @Optional()
  @IsBoolean()
  overwrite = false;

  /**
   * Restore even if the restore point is known to be damaged, as far as it can be read; `damaged_sources` of the job then lists the files that differ from
   * the sealed ones
   */
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}
