import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsDefined,
  IsIn,
  IsInt,
  IsNotEmpty,
  IsNumber,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import type { NodeContentDigest, NodeDiskStatus, NodeJobReport, NodeJobStatus, NodeQuiesceOutcome } from './node-api.js';
import { IsInstant } from './validation/instant.decorator.js';
import { Nullable, Optional } from './validation/presence.decorators.js';

const JOB_STATUSES = ['starting', 'running', 'completed', 'failed', 'cancelled'] as const satisfies readonly NodeJobStatus[];
const DISK_STATUSES = ['pending', 'running', 'completed', 'failed'] as const satisfies readonly NodeDiskStatus[];
const MAX_DISKS = 256;
const MAX_DETAIL = 16_384;

export class NodeProblemDto {
  /** @example "disk_in_use" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(100)
  readonly code!: string;

  /** @example "disk0.qcow2 is held open for writing by process 4711." */
  @IsString()
  @MaxLength(MAX_DETAIL)
  readonly detail!: string;
}

export class NodeQuiesceOutcomeDto implements NodeQuiesceOutcome {
  @IsIn(['quiesced', 'not_quiesced'])
  readonly outcome!: 'quiesced' | 'not_quiesced';

  /** @example "2 file systems were frozen for 85 ms." */
  @IsString()
  @MaxLength(MAX_DETAIL)
  readonly detail!: string;
}

const DIGEST = /^[0-9a-f]{64}$/;

export class NodeContentDigestDto implements NodeContentDigest {
  /** Secret while the disk is being copied @example "0000000000000000000000000000000000000000000000000000000000000000" */
  @IsString()
  @Matches(DIGEST, { message: 'key must be 64 lower-case hexadecimal digits' })
  readonly key!: string;

  /** @example "0101010101010101010101010101010101010101010101010101010101010101" */
  @IsString()
  @Matches(DIGEST, { message: 'digest must be 64 lower-case hexadecimal digits' })
  readonly digest!: string;
}

export class NodeJobDiskDto {
  /** @example "disk0.qcow2" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(1024)
  readonly disk_key!: string;

  @IsIn(DISK_STATUSES)
  readonly status!: NodeDiskStatus;

  /** @example 1048576 */
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly bytes_transferred!: number;

  /** Bytes that this backup copies for the disk @example 4194304 */
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly total_bytes!: number;

  /** @example "sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @Nullable()
  @IsString()
  @IsNotEmpty()
  @MaxLength(1024)
  readonly change_id!: string | null;

  @Nullable()
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => NodeProblemDto)
  readonly error!: NodeProblemDto | null;

  /** Digest of the data that the copy of a completed disk sent across a network */
  @Optional()
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => NodeContentDigestDto)
  readonly content?: NodeContentDigestDto;
}

/** The state of a backup job, as the node pushes it to the hub and as it answers requests. */
export class NodeJobReportDto implements NodeJobReport {
  /** The same id as in the path @example "0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(100)
  readonly job_id!: string;

  @IsIn(JOB_STATUSES)
  readonly status!: NodeJobStatus;

  /** @example "transfer" */
  @IsString()
  @IsNotEmpty()
  @MaxLength(100)
  readonly current_phase!: string;

  /** The instant of the snapshot, common to all disks @example "2026-11-21T10:15:00.000Z" */
  @Nullable()
  @IsInstant()
  readonly instant!: string | null;

  /** True once the source's disks are no longer in use */
  @IsBoolean()
  readonly snapshot_released!: boolean;

  /** @example 1048576 */
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly bytes_transferred!: number;

  /** @example 4194304 */
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly total_bytes!: number;

  /** Bytes per second @example 524288 */
  @IsNumber()
  @Min(0)
  readonly transfer_speed_bps!: number;

  /** @example 6 */
  @Nullable()
  @IsNumber()
  @Min(0)
  readonly eta_seconds!: number | null;

  /** @example 25 */
  @IsNumber()
  @Min(0)
  @Max(100)
  readonly progress_percent!: number;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_DISKS)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => NodeJobDiskDto)
  readonly disks!: readonly NodeJobDiskDto[];

  @Nullable()
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => NodeProblemDto)
  readonly error!: NodeProblemDto | null;

  /** Whether the guest's file systems were frozen at the instant; absent if quiescing was not requested */
  @Optional()
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => NodeQuiesceOutcomeDto)
  readonly quiesce?: NodeQuiesceOutcomeDto;

  /** Increases with every change of the job @example 7 */
  @IsInt()
  @Min(0)
  readonly sequence!: number;

  /** @example "2026-11-21T10:15:02.000Z" */
  @IsInstant()
  readonly timestamp!: string;
}
