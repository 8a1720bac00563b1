import { Body, Controller, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { CreatePolicy } from '../model/policy.commands.js';
import { CreatePolicyDto, settingsOf } from '../model/policy.dto.js';
import { PolicyReader } from '../model/policy.reader.js';
import { PolicyResponse, toPolicyResponse } from '../model/policy.response.js';

@ApiTags('policies')
@Controller('policies')
export class CreatePolicyController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly policies: PolicyReader,
  ) {}

  @Post()
  @ApiOperation({ summary: 'Create a policy, which backs up VMs by itself' })
  @ApiCreatedResponse({ type: PolicyResponse })
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
  @ApiProblem(404, 'repository_not_found', 'blackout_not_found', 'policy_not_found')
  @ApiProblem(409, 'policy_name_taken', 'no_vm_matched', 'vm_claimed')
  @ApiProblem(503, 'read_model_behind')
  async create(@Body() body: CreatePolicyDto, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<PolicyResponse> {
    const { policy_id, position } = await this.commands.execute(new CreatePolicy(settingsOf(body), context));
    answerPosition(response, position);
    response.location(`/api/v1/policies/${policy_id}`);
    await this.readModels.waitFor(position, 'policies');
    return toPolicyResponse(await this.policies.one(policy_id));
  }
}
