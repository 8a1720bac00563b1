import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsDefined,
  IsInt,
  IsNotEmpty,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import type { NodeStartBootCheck } from '../../platform/node-api/node-api.js';
import { DefinitionDto, JOB_ID, NBD_URI, orNull, TARGET } from '../model/vm-definition.dto.js';

export class CheckedDiskDto {
  @ApiProperty({ example: 'vda' })
  @IsString()
  @Matches(TARGET, { message: 'disk_key must be the name of a target device' })
  readonly disk_key!: string;

  @ApiProperty({ type: 'integer', minimum: 1, example: 2_147_483_648 })
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly size_bytes!: number;

  @ApiProperty({ example: 'nbd://192.0.2.10:10100/restore-pgtest1-disk0-0e5b7a41' })
  @IsString()
  @Matches(NBD_URI, { message: 'uri must be an nbd:// URI' })
  readonly uri!: string;
}

export class StartBootCheckDto implements NodeStartBootCheck {
  @ApiProperty({ format: 'uuid', example: '0193f1de-7c1c-7a2e-8f0c-6d2f8e1b4a5c' })
  @IsString()
  @Matches(JOB_ID, { message: 'check_id must be 1 to 64 letters, digits or dashes' })
  readonly check_id!: string;

  @ApiProperty({ example: 'pgtest1' })
  @IsString()
  @MaxLength(1024)
  readonly vm_name!: string;

  @ApiProperty({ type: DefinitionDto })
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => DefinitionDto)
  readonly definition!: DefinitionDto;

  @ApiProperty({ type: [CheckedDiskDto] })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(256)
  @ArrayUnique((disk: CheckedDiskDto) => disk.disk_key, { message: 'disks must not name a disk_key twice' })
  @ValidateNested({ each: true })
  @Type(() => CheckedDiskDto)
  readonly disks!: readonly CheckedDiskDto[];

  @ApiProperty({ type: 'string', nullable: true, example: 'login:' })
  @orNull('console_text')
  @IsString()
  @IsNotEmpty()
  @MaxLength(200)
  readonly console_text!: string | null;

  @ApiProperty({ example: true })
  @IsBoolean()
  readonly guest_agent!: boolean;

  @ApiProperty({ type: 'integer', minimum: 1, example: 300 })
  @IsInt()
  @Min(1)
  @Max(86_400)
  readonly timeout_seconds!: number;

  @ApiProperty({ type: 'integer', nullable: true, example: null })
  @orNull('memory_mib')
  @IsInt()
  @Min(16)
  @Max(16_777_216)
  readonly memory_mib!: number | null;
}
