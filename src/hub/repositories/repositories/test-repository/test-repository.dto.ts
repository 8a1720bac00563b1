import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsString, MaxLength } from 'class-validator';
import type { RepositoryType } from '../model/repository.events.js';

const TYPES = ['local'] as const satisfies readonly RepositoryType[];

export class TestRepositoryDto {
  @ApiProperty({ enum: TYPES, example: 'local' })
  @IsIn(TYPES)
  readonly type!: RepositoryType;

  @ApiProperty({ example: '/srv/backups' })
  @IsString()
  @MaxLength(4096)
  readonly path!: string;
}

export class RepositoryCheckDto {
  @ApiProperty({ enum: ['absolute_path', 'exists', 'directory', 'separate', 'unused', 'writable'], example: 'writable' })
  readonly name!: string;
  @ApiProperty({ example: true })
  readonly ok!: boolean;
  @ApiProperty({ description: 'Result of the check and, if it failed, what to do', example: 'A file was written, synced to disk, read back and removed.' })
  readonly detail!: string;
}

export class RepositoryTestDto {
  @ApiProperty({ description: 'Whether POST /repositories would accept the path', example: true })
  readonly ok!: boolean;
  @ApiProperty({ type: [RepositoryCheckDto], description: 'In order; ends at a failed check that makes the rest meaningless' })
  readonly checks!: readonly RepositoryCheckDto[];
  @ApiProperty({ type: 'number', nullable: true, example: 42_949_672_960 })
  readonly free_bytes!: number | null;
  @ApiProperty({ type: 'number', nullable: true, example: 107_374_182_400 })
  readonly total_bytes!: number | null;
}
