import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { BlackoutReadModel } from '../../../../../projections/blackouts/blackouts.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { BlackoutResponse, toBlackoutResponse } from './blackout.response.js';
import { blackoutOf, CreateBlackoutDto, EditBlackoutDto, ListBlackoutsQuery } from './keep-blackouts.dto.js';
import { KeepBlackouts } from './keep-blackouts.service.js';

const EXAMPLE = '0199a3c0-7733-7c3e-8a55-9b1d3c1f0e5b';

@ApiTags('blackouts')
@Controller('blackouts')
export class KeepBlackoutsController {
  constructor(
    private readonly blackouts: KeepBlackouts,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Shared blackouts, ordered by name' })
  @ApiPage('blackouts', BlackoutResponse, 'A page of blackouts')
  list(@Query() query: ListBlackoutsQuery): Promise<Page<'blackouts', BlackoutResponse>> {
    return readPage(this.dataSource, query, {
      name: 'blackouts',
      readModel: BlackoutReadModel,
      order: ['name', 'blackout_id'],
      direction: 'ASC',
      filters: { name: query.name },
      itemOf: toBlackoutResponse,
    });
  }

  @Get(':id')
  @ApiOperation({ summary: 'One shared blackout' })
  @ApiParam({ name: 'id', example: EXAMPLE })
  @ApiOkResponse({ type: BlackoutResponse })
  @ApiProblem(404, 'blackout_not_found')
  async get(@Param('id', UuidParam) id: string): Promise<BlackoutResponse> {
    return toBlackoutResponse(await this.blackouts.one(id));
  }

  @Post()
  @ApiOperation({ summary: 'Create a shared blackout: times without starts, which policies refer to by `blackout_ids`' })
  @ApiCreatedResponse({ type: BlackoutResponse })
  @ApiProblem(400, 'validation_failed', 'blackout_invalid', 'time_zone_unknown')
  @ApiProblem(404, 'blackout_not_found')
  @ApiProblem(409, 'blackout_name_taken')
  @ApiProblem(503, 'read_model_behind')
  async create(@Body() body: CreateBlackoutDto, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<BlackoutResponse> {
    const { blackout_id, position } = await this.blackouts.create(blackoutOf(body), context);
    response.location(`/api/v1/blackouts/${blackout_id}`);
    return this.answer(blackout_id, position, response);
  }

  @Put(':id')
  @ApiOperation({ summary: 'Replace a shared blackout by a new version; it applies to all policies that refer to it at once' })
  @ApiParam({ name: 'id', example: EXAMPLE })
  @ApiOkResponse({ type: BlackoutResponse })
  @ApiProblem(400, 'validation_failed', 'blackout_invalid', 'time_zone_unknown')
  @ApiProblem(404, 'blackout_not_found')
  @ApiProblem(409, 'blackout_changed', 'blackout_name_taken')
  @ApiProblem(503, 'read_model_behind')
  async edit(
    @Param('id', UuidParam) id: string,
    @Body() body: EditBlackoutDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<BlackoutResponse> {
    return this.answer(id, await this.blackouts.edit(id, body.version, blackoutOf(body), context), response);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Delete a shared blackout that no policy refers to' })
  @ApiParam({ name: 'id', example: EXAMPLE })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ApiProblem(404, 'blackout_not_found')
  @ApiProblem(409, 'blackout_used_by_policies')
  @ApiProblem(503, 'read_model_behind')
  async delete(@Param('id', UuidParam) id: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.blackouts.delete(id, context));
  }

  private async answer(id: string, position: Position | null, response: Response): Promise<BlackoutResponse> {
    answerPosition(response, position);
    await this.readModels.waitFor(position, 'blackouts');
    return toBlackoutResponse(await this.blackouts.one(id));
  }
}
