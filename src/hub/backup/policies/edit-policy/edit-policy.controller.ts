import { Body, Controller, Param, Put, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { EditPolicy } from '../model/policy.commands.js';
import { EditPolicyDto, settingsOf } from '../model/policy.dto.js';
import { PolicyReader } from '../model/policy.reader.js';
import { PolicyResponse, toPolicyResponse } from '../model/policy.response.js';

@ApiTags('policies')
@Controller('policies')
export class EditPolicyController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly policies: PolicyReader,
  ) {}

  @Put(':id')
  @ApiOperation({
    summary: 'Replace the settings of a policy by a new version',
    description:
      'Members that are left out get their defaults. Runs that have started keep the version under which they did. Rules that let more restore points expire need `confirm_expiring`; `POST /policies/simulate` names these restore points.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiOkResponse({ type: PolicyResponse })
  @ApiProblem(
    400,
    'validation_failed',
    'schedule_invalid',
    'time_zone_unknown',
    'blackout_invalid',
    'retention_empty',
    'verification_empty',
    'sign_of_life_missing',
    'copy_target_is_source',
  )
  @ApiProblem(404, 'policy_not_found', 'repository_not_found', 'blackout_not_found')
  @ApiProblem(409, 'policy_changed', 'retention_would_expire', 'policy_name_taken', 'no_vm_matched', 'vm_claimed')
  @ApiProblem(503, 'read_model_behind')
  async edit(
    @Param('id', UuidParam) id: string,
    @Body() body: EditPolicyDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<PolicyResponse> {
    const { position } = await this.commands.execute(new EditPolicy(id, body.version, settingsOf(body), body.confirm_expiring, context));
    answerPosition(response, position);
    await this.readModels.waitFor(position, 'policies');
    return toPolicyResponse(await this.policies.one(id));
  }
}
