import { Controller, Get, Query } from '@nestjs/common';
import { ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { NODE_SOURCES, type NodeSource, type NodeVmList } from '../../platform/node-api/node-api.js';
import { loggerFor } from '../../platform/logging/logger.js';
import { Sources } from '../sources/sources.js';
import { Optional } from '../../platform/http/presence.decorators.js';

export class ListVmsQueryDto {
  @ApiPropertyOptional({ description: 'Only this VM', example: '/var/lib/sendense/images/pgtest1' })
  @Optional()
  @IsString()
  @Matches(/^[^\0]+$/, { message: 'source_ref must not be empty or hold NUL' })
  @MaxLength(4096)
  readonly source_ref?: string;

  @ApiPropertyOptional({ enum: NODE_SOURCES, description: 'Of the VM that is asked for; without it the form of source_ref tells', example: 'image' })
  @Optional()
  @IsIn(NODE_SOURCES)
  readonly source?: NodeSource;
}

@ApiTags('vms')
@Controller('vms')
export class ListVmsController {
  private readonly logger = loggerFor('ListVms');

  constructor(private readonly sources: Sources) {}

  /** All VMs, or one: then an unknown one is 404 vm_not_found. */
  @Get()
  async list(@Query() query: ListVmsQueryDto): Promise<NodeVmList> {
    const { source_ref: sourceRef } = query;
    if (sourceRef !== undefined) return { vms: [await this.sources.of(query.source ?? sourceByForm(sourceRef)).describe(sourceRef)] };
    return { vms: await this.discover() };
  }

  /** A hypervisor that is away just now hides no VM of the others. */
  private async discover(): Promise<NodeVmList['vms']> {
    const found = await Promise.allSettled(this.sources.all.map((source) => source.discover()));
    const failed = found.filter((one) => one.status === 'rejected');
    for (const { reason } of failed) this.logger.warn('a source of VMs cannot be asked', { error: reason });
    if (failed.length === found.length) throw failed[0]?.reason;
    return found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  }
}

function sourceByForm(sourceRef: string): NodeSource {
  return sourceRef.startsWith('/') ? 'image' : 'libvirt';
}
