import { Controller, Get, Query } from '@nestjs/common';
import { ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { IsOptional, IsString, Matches, MaxLength } from 'class-validator';
import type { NodeVmList } from '../../platform/node-api/node-api.js';
import { Sources } from '../sources/sources.js';

export class ListVmsQueryDto {
  @ApiPropertyOptional({ description: 'Only this VM', example: '/var/lib/sendense/images/pgtest1' })
  @IsOptional()
  @IsString()
  @Matches(/^[^\0]+$/, { message: 'source_ref must not be empty or hold NUL' })
  @MaxLength(4096)
  readonly source_ref?: string;
}

@ApiTags('vms')
@Controller('vms')
export class ListVmsController {
  constructor(private readonly sources: Sources) {}

  /** All VMs, or one: then an unknown one is 404 vm_not_found. */
  @Get()
  async list(@Query() query: ListVmsQueryDto): Promise<NodeVmList> {
    const { source_ref: sourceRef } = query;
    if (sourceRef !== undefined) return { vms: [await this.sources.of('image').describe(sourceRef)] };
    return { vms: (await Promise.all(this.sources.all.map((source) => source.discover()))).flat() };
  }
}
