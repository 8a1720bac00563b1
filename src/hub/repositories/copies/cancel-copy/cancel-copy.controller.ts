import { Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { CancelCopy } from '../model/copy.commands.js';
import { CopyResponse, toCopyResponse } from '../model/copy.response.js';

@ApiTags('copies')
@Controller('copies')
export class CancelCopyController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Post(':copy_id/cancel')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Stop a copy and remove what it has written',
    description: 'The copy is cancelled at once; its files are then removed. A copy that is a restore point already is deleted instead.',
  })
  @ApiAcceptedResponse({ type: CopyResponse, description: 'The cancelled copy' })
  @ApiProblem(404, 'copy_not_found')
  @ApiProblem(409, 'copy_already_ended')
  async cancel(
    @Param('copy_id', UuidParam) copyId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<CopyResponse> {
    const { position } = await this.commands.execute(new CancelCopy(copyId, context));
    await this.readModels.waitFor(position, 'copies');
    answerPosition(response, position);
    return toCopyResponse(await this.dataSource.getRepository(CopyReadModel).findOneByOrFail({ copy_id: copyId }));
  }
}
