import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
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
import { RequestCopy } from '../model/copy.commands.js';
import { CopyResponse, toCopyResponse } from '../model/copy.response.js';
import { RequestCopyDto } from './request-copy.dto.js';

@ApiTags('copies')
@Controller('backups')
export class RequestCopyController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Post(':backup_id/copy')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Copy a restore point into another repository',
    description:
      'Responds at once; GET /copies/{copy_id} shows the progress. The copy is the same in every byte if the restore point is a full or its parent has a copy in that repository; otherwise it is flattened into a full. It becomes a restore point only after all of its files were read back and compared. An interrupted copy continues at the block it had reached.',
  })
  @ApiAcceptedResponse({ type: CopyResponse, description: 'The copy' })
  @ApiProblem(400, 'validation_failed', 'copy_target_is_source')
  @ApiProblem(404, 'backup_not_found', 'repository_not_found')
  @ApiProblem(409, 'backup_not_copyable', 'copy_exists')
  @ApiProblem(503, 'read_model_behind')
  async request(
    @Param('backup_id', UuidParam) backupId: string,
    @Body() body: RequestCopyDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<CopyResponse> {
    const limit = body.bandwidth_limit_bps ?? null;
    const command = new RequestCopy(backupId, body.repository_id.toLowerCase(), body.with_parents, null, limit, context);
    const { copy_id, position } = await this.commands.execute(command);
    await this.readModels.waitFor(position, 'copies');
    answerPosition(response, position);
    response.location(`/api/v1/copies/${copy_id}`);
    return toCopyResponse(await this.dataSource.getRepository(CopyReadModel).findOneByOrFail({ copy_id }));
  }
}
