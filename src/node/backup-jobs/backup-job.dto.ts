import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsDefined,
  IsIn,
  IsInt,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import {
  NODE_QUIESCE,
  NODE_SOURCES,
  type NodeQuiesce,
  type NodeRemoveChangeIds,
  type NodeSettleBackup,
  type NodeSource,
  type NodeStartBackup,
} from '../../contract/node-api.js';
import { EXPORT_KEY } from '../../lib/nbd/nbd-uri.js';
import { JOB_ID } from './job-journal.js';
import { Optional, Nullable } from '../../contract/validation/presence.decorators.js';

const MAX_DISKS = 256;
const MAX_CHANGE_IDS = 10_000;
const MAX_VMS = 10_000;
/** A hub's id becomes part of bitmap names. */
const HUB_ID = /^[A-Za-z0-9][A-Za-z0-9-]{7,63}$/;
/** The node creates every change id itself (see changeIdOf), so it refuses any other; this also makes them safe in an argv. */
const CHANGE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const WITHOUT_NUL = /^[^\0]+$/;
const MAX_PATH = 4096;
/** Bytes per second. A lower limit would keep a backup from ever finishing. */
const MIN_BANDWIDTH = 65_536;

export class SourceVmDto {
  @ApiProperty({ enum: NODE_SOURCES, example: 'image' })
  @IsIn(NODE_SOURCES)
  readonly source!: NodeSource;

  @ApiProperty({ description: "The node's name for the VM", example: '/var/lib/sendense/images/pgtest1' })
  @IsString()
  @Matches(WITHOUT_NUL, { message: 'source_ref must not be empty or contain NUL' })
  @MaxLength(MAX_PATH)
  readonly source_ref!: string;
}

export class StartVmDto extends SourceVmDto {
  @ApiProperty({ format: 'uuid', example: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c' })
  @IsString()
  @Matches(WITHOUT_NUL, { message: 'vm_id must not be empty or contain NUL' })
  @MaxLength(100)
  readonly vm_id!: string;

  @ApiProperty({ example: 'pgtest1' })
  @IsString()
  @Matches(WITHOUT_NUL, { message: 'name must not be empty or contain NUL' })
  @MaxLength(1024)
  readonly name!: string;
}

export class StartDiskDto {
  @ApiProperty({ example: 'disk0.qcow2' })
  @IsString()
  @Matches(/^[^/\0]+$/, { message: 'disk_key must be a name without slash or NUL' })
  @MaxLength(1024)
  readonly disk_key!: string;

  @ApiProperty({ type: 'integer', minimum: 1, description: 'Virtual size of the target', example: 2_147_483_648 })
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly size_bytes!: number;

  @ApiProperty({ type: 'string', nullable: true, description: 'null: a full backup', example: null })
  @Nullable()
  @IsString()
  @Matches(CHANGE_ID, { message: 'parent_change_id must be a change id of this node, or null for a full backup' })
  readonly parent_change_id!: string | null;

  @ApiPropertyOptional({ description: 'Pre-shared key of the target, if its URI is nbds: 64 hexadecimal digits', writeOnly: true })
  @Optional()
  @IsString()
  @Matches(EXPORT_KEY, { message: 'export_key must be 64 hexadecimal digits' })
  readonly export_key?: string;
}

export class StartBackupDto implements NodeStartBackup {
  @ApiProperty({ format: 'uuid', example: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c' })
  @IsString()
  @Matches(JOB_ID, { message: 'job_id must be 1 to 64 letters, digits or dashes' })
  readonly job_id!: string;

  @ApiProperty({ format: 'uuid', example: '6f0d2b0e-6f5e-4c52-9f0a-3f2d1c7a9e10' })
  @IsString()
  @Matches(HUB_ID, { message: 'hub_id must be 8 to 64 letters, digits or dashes' })
  readonly hub_id!: string;

  @ApiProperty({ type: StartVmDto })
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => StartVmDto)
  readonly vm!: StartVmDto;

  @ApiProperty({
    description:
      '`<disk_key>:<URI>,...` with percent-encoded disk keys. URI: `nbds://<host>:<port>/<export_name>` (TLS with the export_key of the disk), or `nbd+unix:///<export_name>?socket=<path>`',
    example: 'disk0.qcow2:nbds://127.0.0.1:10100/backup-pgtest1-disk0-full-20261121T101500Z',
  })
  @IsString()
  @MaxLength(512 * 1024)
  readonly nbd_targets_string!: string;

  @ApiProperty({ type: [StartDiskDto] })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_DISKS)
  @ArrayUnique((disk: StartDiskDto) => disk.disk_key, { message: 'disks must not contain the same disk_key twice' })
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => StartDiskDto)
  readonly disks!: readonly StartDiskDto[];

  @ApiPropertyOptional({ enum: NODE_QUIESCE, description: "Whether to freeze the guest's file systems at the instant", example: 'try' })
  @Optional()
  @IsIn(NODE_QUIESCE)
  readonly quiesce?: NodeQuiesce;

  @ApiPropertyOptional({ type: 'integer', minimum: MIN_BANDWIDTH, description: 'Maximum bytes per second of all disks together', example: 100_000_000 })
  @Optional()
  @IsInt()
  @Min(MIN_BANDWIDTH)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly bandwidth_limit_bps?: number;
}

export class SettleBackupDto implements NodeSettleBackup {
  @ApiProperty({ format: 'uuid', example: '6f0d2b0e-6f5e-4c52-9f0a-3f2d1c7a9e10' })
  @IsString()
  @Matches(HUB_ID, { message: 'hub_id must be 8 to 64 letters, digits or dashes' })
  readonly hub_id!: string;

  @ApiProperty({ enum: ['committed', 'discarded'], example: 'committed' })
  @IsIn(['committed', 'discarded'])
  readonly outcome!: 'committed' | 'discarded';

  @ApiProperty({ type: SourceVmDto })
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => SourceVmDto)
  readonly vm!: SourceVmDto;

  @ApiProperty({ type: [String], description: "Change ids of this hub to keep; all others of this hub on the VM's disks are removed", example: [] })
  @IsArray()
  @ArrayMaxSize(MAX_CHANGE_IDS)
  @IsString({ each: true })
  @Matches(CHANGE_ID, { each: true, message: 'each of keep_change_ids must be a change id of this node' })
  readonly keep_change_ids!: readonly string[];
}

export class RemoveOfVmDto extends SourceVmDto {
  @ApiProperty({ type: [String], example: ['sendense-6f0d2b0e-0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c'] })
  @IsArray()
  @ArrayMaxSize(MAX_CHANGE_IDS)
  @IsString({ each: true })
  @Matches(CHANGE_ID, { each: true, message: 'each of change_ids must be a change id of this node' })
  readonly change_ids!: readonly string[];
}

export class RemoveChangeIdsDto implements NodeRemoveChangeIds {
  @ApiProperty({ format: 'uuid', example: '6f0d2b0e-6f5e-4c52-9f0a-3f2d1c7a9e10' })
  @IsString()
  @Matches(HUB_ID, { message: 'hub_id must be 8 to 64 letters, digits or dashes' })
  readonly hub_id!: string;

  @ApiProperty({ type: [RemoveOfVmDto] })
  @IsArray()
  @ArrayMaxSize(MAX_VMS)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => RemoveOfVmDto)
  readonly vms!: readonly RemoveOfVmDto[];

  @ApiProperty({ type: [String], description: 'Reported removals that the hub has recorded', example: [] })
  @IsArray()
  @ArrayMaxSize(MAX_CHANGE_IDS)
  @IsString({ each: true })
  readonly known_swept!: readonly string[];
}

export class ChangeIdsQueryDto {
  @ApiProperty({ format: 'uuid', example: '6f0d2b0e-6f5e-4c52-9f0a-3f2d1c7a9e10' })
  @IsString()
  @Matches(HUB_ID, { message: 'hub_id must be 8 to 64 letters, digits or dashes' })
  readonly hub_id!: string;
}

export class SettledDto {
  @ApiProperty({ enum: [true], example: true })
  readonly settled!: true;
}
