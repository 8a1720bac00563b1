import { ArrayMaxSize, ArrayMinSize, IsArray, IsInt, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const MAX_PORTS_OF_A_JOB = 1000;

export class AllocatePortsDto {
  /** The job that gets the ports; a repeated request returns the same ports @example "0193a5c2-7d1e-7000-8000-000000000004" */
  @IsString()
  @MaxLength(128)
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, { message: 'job_id must consist of letters, digits, dots, dashes and underscores' })
  readonly job_id!: string;

  /** Number of ports; instead of export_names @example 2 */
  @Optional()
  @IsInt()
  @Min(1)
  @Max(MAX_PORTS_OF_A_JOB)
  readonly count?: number;

  /** One port for each name; instead of count @example ["backup-pgtest1-disk0-full-20261121T101500Z","backup-pgtest1-disk1-full-20261121T101500Z"] */
  @Optional()
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_PORTS_OF_A_JOB)
  @Matches(/^[^\p{Cc}]{1,64}$/u, { each: true, message: 'each of export_names must be 1 to 64 characters long, without control characters' })
  readonly export_names?: readonly string[];
}

export class AllocatedPortDto {
  /** @example 10100 */ readonly port!: number;
  /** @example "backup-pgtest1-disk0-full-20261121T101500Z" */ readonly export_name!: string | null;
}

export class AllocatedPortsDto {
  /** @example "0193a5c2-7d1e-7000-8000-000000000004" */ readonly job_id!: string;
  /** In the order of export_names */ readonly ports!: readonly AllocatedPortDto[];
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
