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
import type { NodeStartBootCheck } from '../../contract/node-api.js';
import { DefinitionDto, JOB_ID, ServedDiskDto } from '../model/vm-definition.dto.js';
import { Nullable } from '../../contract/validation/presence.decorators.js';

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

  @ApiProperty({ type: [ServedDiskDto] })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(256)
  @ArrayUnique((disk: ServedDiskDto) => disk.disk_key, { message: 'disks must not contain the same disk_key twice' })
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => ServedDiskDto)
  readonly disks!: readonly ServedDiskDto[];

  @ApiProperty({ type: 'string', nullable: true, example: 'login:' })
  @Nullable()
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
  @Nullable()
  @IsInt()
  @Min(16)
  @Max(16_777_216)
  readonly memory_mib!: number | null;
}
