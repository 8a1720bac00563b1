import { Controller, Get } from '@nestjs/common';
import { QueryBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { NbdProcessListDto } from './list-processes.dto.js';
import { ListNbdProcesses } from './list-processes.handler.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('nbd')
@Controller('nbd/processes')
export class ListProcessesController {
  constructor(private readonly queries: QueryBus) {}

  @Get()
  @PresentOnly()
  @ApiOperation({ summary: 'List running NBD servers by port', description: 'Liveness and connections are measured when the request is made.' })
  @ApiOkResponse({ type: NbdProcessListDto })
  list(): Promise<NbdProcessListDto> {
    return this.queries.execute(new ListNbdProcesses());
  }
}
