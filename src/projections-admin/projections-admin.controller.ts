import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { ApiProblem } from '../platform/http/problem-responses.decorator.js';
import { Projections } from '../platform/postgres/projections.js';
import { ProjectionsResponse, RebuildAcceptedResponse, toProjectionStatusResponse } from './projection-status.response.js';

@ApiTags('operations')
@Controller('projections')
export class ProjectionsAdminController {
  constructor(private readonly projections: Projections) {}

  @Get()
  @ApiOperation({ summary: 'Where each read model stands' })
  @ApiOkResponse({ type: ProjectionsResponse })
  async list(): Promise<ProjectionsResponse> {
    return { projections: (await this.projections.statuses()).map(toProjectionStatusResponse) };
  }

  @Post(':name/rebuild')
  @HttpCode(202)
  @ApiOperation({ summary: 'Build a read model anew beside the live one', description: 'Readers go on with the live rows until the new ones have caught up.' })
  @ApiParam({ name: 'name', example: 'backups' })
  @ApiAcceptedResponse({ type: RebuildAcceptedResponse })
  @ApiProblem(404, 'projection_not_found')
  @ApiProblem(409, 'rebuild_in_progress')
  async rebuild(@Param('name') name: string): Promise<RebuildAcceptedResponse> {
    const { generation } = await this.projections.rebuild(name);
    return { name, generation, state: 'rebuilding' };
  }
}
