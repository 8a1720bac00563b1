import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsDefined,
  IsIn,
  IsObject,
  IsString,
  Matches,
  MaxLength,
  ValidateNested,
} from 'class-validator';
import { NODE_VM_NETWORKS, type NodeSettleVmRestore, type NodeStartVmRestore, type NodeVmNetwork } from '../../contract/node-api.js';
import { DefinitionDto, JOB_ID, ServedDiskDto, UUID } from '../model/vm-definition.dto.js';
import { Nullable } from '../../contract/validation/presence.decorators.js';

export class RestoredVmDiskDto extends ServedDiskDto {
  @ApiProperty({ type: 'string', nullable: true, example: 'pgtest1-restored-disk0.qcow2' })
  @Nullable()
  @IsString()
  @Matches(/^(?!\.{1,2}$)[^/\p{Cc}]{1,255}$/u, { message: 'file_name must be a name without slash or control characters, or null' })
  readonly file_name!: string | null;
}

export class StartVmRestoreDto implements NodeStartVmRestore {
  @ApiProperty({ format: 'uuid', example: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c' })
  @IsString()
  @Matches(JOB_ID, { message: 'job_id must be 1 to 64 letters, digits or dashes' })
  readonly job_id!: string;

  @ApiProperty({ type: DefinitionDto })
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => DefinitionDto)
  readonly definition!: DefinitionDto;

  @ApiProperty({ example: 'pgtest1-restored' })
  @IsString()
  @Matches(/^[^/\p{Cc}]{1,200}$/u, { message: 'name must have 1 to 200 characters, none of them a slash or control character' })
  readonly name!: string;

  @ApiProperty({ type: 'string', nullable: true, example: 'ad05c83f-50e3-4a52-a4f4-f1a4b76a9e10' })
  @Nullable()
  @IsString()
  @Matches(UUID, { message: 'uuid must be a lower-case uuid, or null' })
  readonly uuid!: string | null;

  @ApiProperty({ example: false })
  @IsBoolean()
  readonly keep_identity!: boolean;

  @ApiProperty({ example: false })
  @IsBoolean()
  readonly start!: boolean;

  @ApiProperty({ enum: NODE_VM_NETWORKS, example: 'keep' })
  @IsIn(NODE_VM_NETWORKS)
  readonly network!: NodeVmNetwork;

  @ApiProperty({ type: 'string', nullable: true, example: null })
  @Nullable()
  @IsString()
  @Matches(/^[^/\p{Cc}]{1,200}$/u, { message: 'libvirt_network must be the name of a network, or null' })
  readonly libvirt_network!: string | null;

  @ApiProperty({ type: 'string', nullable: true, example: '/var/lib/libvirt/images' })
  @Nullable()
  @IsString()
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'storage_path must be an absolute path, or null' })
  @MaxLength(3800)
  readonly storage_path!: string | null;

  @ApiProperty({ type: [RestoredVmDiskDto] })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(256)
  @ArrayUnique((disk: RestoredVmDiskDto) => disk.disk_key, { message: 'disks must not contain the same disk_key twice' })
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => RestoredVmDiskDto)
  readonly disks!: readonly RestoredVmDiskDto[];
}

/** See NodeSettleVmRestore. */
export class SettleVmRestoreDto implements NodeSettleVmRestore {
  @ApiProperty({ enum: ['keep', 'discard'], example: 'keep' })
  @IsIn(['keep', 'discard'])
  readonly outcome!: 'keep' | 'discard';
}
