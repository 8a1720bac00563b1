import { Body, Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../kernel/command-context.js';
import { Context } from '../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../http/own-writes.interceptor.js';
import { ApiProblem } from '../../../lib/http/problem-responses.decorator.js';
import { Projections } from '../../store/postgres/projections.js';
import { ProjectionsResponse, RebuildAcceptedResponse, SkipAcceptedResponse, toProjectionStatusResponse } from './projection-status.response.js';
import { SkipEventRequest } from './skip-event.dto.js';
import { PresentOnly } from '../../../lib/http/query.guard.js';

@ApiTags('operations')
@Controller('projections')
export class ProjectionsAdminController {
  constructor(private readonly projections: Projections) {}

  @Get()
  @PresentOnly()
  @ApiOperation({ summary: 'List the read models and their positions' })
  @ApiOkResponse({ type: ProjectionsResponse })
  async list(): Promise<ProjectionsResponse> {
    return { projections: (await this.projections.statuses()).map(toProjectionStatusResponse) };
  }

  @Post(':name/rebuild')
  @HttpCode(202)
  @ApiOperation({ summary: 'Rebuild a read model next to the live one', description: 'Readers use the live rows until the new ones have caught up.' })
  @ApiParam({ name: 'name', example: 'backups' })
  @ApiAcceptedResponse({ type: RebuildAcceptedResponse })
  @ApiProblem(404, 'projection_not_found')
  @ApiProblem(409, 'rebuild_in_progress')
  async rebuild(@Param('name') name: string): Promise<RebuildAcceptedResponse> {
    const { generation } = await this.projections.rebuild(name);
    return { name, generation, state: 'rebuilding' };
  }

  @Post(':name/skip')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Let a halted read model skip the event at which it has halted',
    description:
      'Recorded as `ProjectionEventSkipped` in the stream `projection-<name>`, and respected by every rebuild. Later events of the same stream that cannot be folded ' +
      'without it are skipped too. The data of the event is then permanently missing from the read model, so this is a last resort.',
  })
  @ApiParam({ name: 'name', example: 'backups' })
  @ApiAcceptedResponse({ type: SkipAcceptedResponse })
  @ApiProblem(404, 'projection_not_found')
  @ApiProblem(409, 'projection_not_halted_there', 'rebuild_in_progress')
  async skip(
    @Param('name') name: string,
    @Body() { position, reason }: SkipEventRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<SkipAcceptedResponse> {
    answerPosition(response, await this.projections.skip(name, position, reason, context));
    return { name, position };
  }
}
