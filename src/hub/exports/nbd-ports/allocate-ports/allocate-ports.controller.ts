import { Body, Controller, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { AllocatePorts } from '../model/nbd-port.commands.js';
import { AllocatedPortsDto, AllocatePortsDto } from './allocate-ports.dto.js';

@ApiTags('nbd')
@Controller('nbd/ports/allocate')
export class AllocatePortsController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @ApiOperation({ summary: 'Allocate NBD ports to a job, all or none', description: 'Ports in use by other programs are skipped.' })
  @ApiCreatedResponse({ type: AllocatedPortsDto })
  @ApiProblem(400, 'validation_failed', 'nbd_port_request_ambiguous', 'nbd_export_names_not_unique')
  @ApiProblem(409, 'nbd_ports_demand_too_large')
  @ApiProblem(503, 'nbd_ports_exhausted')
  async allocate(
    @Body() body: AllocatePortsDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<AllocatedPortsDto> {
    const allocated = await this.commands.execute(new AllocatePorts(body.job_id, namesOf(body), context));
    answerPosition(response, allocated.position);
    return allocated;
  }
}

function namesOf(body: AllocatePortsDto): readonly (string | null)[] {
  if (body.export_names !== undefined && body.count === undefined) return body.export_names;
  if (body.count !== undefined && body.export_names === undefined) return Array.from({ length: body.count }, () => null);
  throw new DomainError('invalid', 'nbd_port_request_ambiguous', 'Specify either count or export_names, not both.', {});
}
