import { Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { OccurrenceReader } from '../model/occurrence.reader.js';
import { OccurrenceResponse } from '../model/occurrence.response.js';
import { RunPolicy } from '../model/policy.commands.js';

@ApiTags('policies')
@Controller('policies')
export class RunPolicyController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly occurrences: OccurrenceReader,
  ) {}

  @Post(':id/run')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Run a policy now',
    description: 'It starts at once, whatever its window, blackouts and spread, and also if it is disabled. Backups that fail are not tried again.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiAcceptedResponse({ type: OccurrenceResponse })
  @ApiProblem(404, 'policy_not_found')
  @ApiProblem(409, 'no_vm_matched', 'previous_running', 'node_offline')
  @ApiProblem(503, 'repository_unavailable', 'read_model_behind', 'projection_halted')
  async run(
    @Param('id', UuidParam) id: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OccurrenceResponse> {
    const { occurrence_id, position } = await this.commands.execute(new RunPolicy(id, context));
    answerPosition(response, position);
    await this.readModels.waitFor(position, 'policy_occurrences');
    const run = await this.dataSource.getRepository(PolicyOccurrenceReadModel).findOneByOrFail({ occurrence_id });
    const [answer] = await this.occurrences.responsesOf([run]);
    if (answer === undefined) throw new Error('each run has its answer');
    return answer;
  }
}
