import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Clock } from '../../../../lib/clock/clock.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { type CreatePolicyDto, settingsOf } from '../model/policy.dto.js';
import { policyNotFound } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { soundSettings } from '../model/policy-rules.decide.js';
import { type ActivePolicy, evolvePolicy, policyHistory } from '../model/policy.state.js';
import { simulatedTime } from './simulated-time.decide.js';
import { WhatIfDto, WhatIfResponse } from './what-if.dto.js';
import { type HindsightResult, WHAT_IF_READ_MODELS, WhatIfReader } from './what-if.reader.js';

@ApiTags('policies')
@Controller('policies')
export class WhatIfController {
  constructor(
    private readonly runner: CommandRunner,
    private readonly readModels: ReadModels,
    private readonly policies: PolicyReader,
    private readonly whatIf: WhatIfReader,
    private readonly clock: Clock,
  ) {}

  @Post(':id/simulate')
  @HttpCode(200)
  @ApiOperation({
    summary: 'What a policy, or an edit of it, would make, keep and remove in the time ahead, and would have in the time past',
    description:
      'By the rules that the hub follows, over the restore points and sizes that are recorded. Sizes of what lies ahead are estimates. Nothing is recorded.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiOkResponse({ type: WhatIfResponse })
  @ApiProblem(
    400,
    'validation_failed',
    'simulated_time_invalid',
    'simulation_too_large',
    'schedule_invalid',
    'time_zone_unknown',
    'blackout_invalid',
    'verification_empty',
    'sign_of_life_missing',
    'copy_target_is_source',
    'retention_empty',
  )
  @ApiProblem(404, 'policy_not_found', 'repository_not_found', 'blackout_not_found')
  @ApiProblem(409, 'policy_name_taken', 'no_vm_matched', 'vm_claimed')
  @ApiProblem(503, 'read_model_behind')
  async simulate(@Param('id', UuidParam) id: string, @Body() { horizon, since = null, settings }: WhatIfDto): Promise<WhatIfResponse> {
    const { state } = await this.runner.load(policyStream(id), policyHistory);
    if (state.status !== 'active') throw policyNotFound(id);
    const now = this.clock.iso();
    const { until } = simulatedTime(horizon, since, now);
    await this.readModels.current(...WHAT_IF_READ_MODELS);
    const policy = settings === undefined ? state : await this.edited(state, settings, now);
    const forward = await this.whatIf.forward(policy, now, until);
    const backward = since === null ? null : toBackward(since, await this.whatIf.backward(policy, since, now));
    return { policy_id: id, version: policy.version, forward: { from: now, until, ...forward }, backward };
  }

  private async edited(state: ActivePolicy, dto: CreatePolicyDto, edited_at: string): Promise<ActivePolicy> {
    const wanted = settingsOf(dto);
    const settings = soundSettings(wanted, await this.policies.factsFor(state.policy_id, wanted, edited_at));
    const next = evolvePolicy(state, { type: 'PolicyEdited', data: { version: state.version + 1, settings, edited_at } });
    if (next.status !== 'active') throw new Error('an edit leaves a policy active');
    return next;
  }
}

function toBackward(since: string, { restore_points, points, restores, impossible }: HindsightResult): WhatIfResponse['backward'] {
  return {
    since,
    restore_points,
    points: points.map(({ at, gone_at, ...point }) => ({ ...point, snapshot_instant: iso(at), gone_at: gone_at === null ? null : iso(gone_at) })),
    restores: {
      made: restores,
      impossible: impossible.count,
      first: impossible.first.map(({ kind, restore_id, backup_id, vm_name, at, gone_at }) => ({
        kind,
        restore_id,
        backup_id,
        vm_name,
        requested_at: iso(at),
        gone_at: iso(gone_at),
      })),
    },
  };
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
