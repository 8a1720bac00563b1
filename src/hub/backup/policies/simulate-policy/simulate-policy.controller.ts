import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Clock } from '../../../../lib/clock/clock.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { retentionOf } from '../model/policy.dto.js';
import { policyNotFound } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { refuseEmpty } from '../model/policy-rules.decide.js';
import { policyHistory } from '../model/policy.state.js';
import { retentionVersion } from '../model/retention.plan.js';
import { RETENTION_READ_MODELS, RetentionReader } from '../model/retention.reader.js';
import { knownZone } from '../model/time-zone.plan.js';
import { PolicySimulationResponse, SimulatePolicyDto } from './simulate-policy.dto.js';

@ApiTags('policies')
@Controller('policies')
export class SimulatePolicyController {
  constructor(
    private readonly runner: CommandRunner,
    private readonly readModels: ReadModels,
    private readonly retention: RetentionReader,
    private readonly clock: Clock,
  ) {}

  @Post('simulate')
  @HttpCode(200)
  @ApiOperation({ summary: 'Which restore points would expire if a policy had another retention', description: 'Nothing is recorded.' })
  @ApiOkResponse({ type: PolicySimulationResponse })
  @ApiProblem(400, 'validation_failed', 'time_zone_unknown', 'retention_empty')
  @ApiProblem(404, 'policy_not_found')
  @ApiProblem(503, 'read_model_behind')
  async simulate(@Body() { policy_id, retention, time_zone }: SimulatePolicyDto): Promise<PolicySimulationResponse> {
    const { state } = await this.runner.load(policyStream(policy_id), policyHistory);
    if (state.status !== 'active') throw policyNotFound(policy_id);
    const rules = retention === null ? null : retentionOf(retention);
    refuseEmpty(rules);
    const zone = time_zone === undefined ? state.settings.time_zone : knownZone(time_zone);
    const next = retentionVersion(state.version + 1, { time_zone: zone, retention: rules });
    await this.readModels.current(...RETENTION_READ_MODELS);
    const effect = await this.retention.compare(policy_id, state.retentions, [...state.retentions, next], this.clock.now().getTime());
    const points = effect.points.map(({ backup_id, vm_id, vm_name, at, reasons }) => ({
      backup_id,
      vm_id,
      vm_name,
      snapshot_instant: new Date(at).toISOString(),
      reasons: [...reasons],
    }));
    return { policy_id, version: state.version, ...effect, points };
  }
}
