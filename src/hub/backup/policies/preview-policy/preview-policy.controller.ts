import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { currentRequest } from '../../../../lib/http/request-state.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { PolicyReader } from '../model/policy.reader.js';
import { type Due, occurrencesAfter, parseSchedule } from '../model/schedule.plan.js';
import { PolicyPreviewResponse } from './preview-policy.dto.js';
import { describePolicy } from './describe-policy.plan.js';

const SHOWN_OCCURRENCES = 5;

@ApiTags('policies')
@Controller('policies')
export class PreviewPolicyController {
  constructor(
    private readonly policies: PolicyReader,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  @Get(':id/preview')
  @ApiOperation({ summary: 'What a policy will do: its next occurrences, and the VMs that it selects now' })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiOkResponse({ type: PolicyPreviewResponse })
  @ApiProblem(404, 'policy_not_found')
  async preview(@Param('id', UuidParam) id: string): Promise<PolicyPreviewResponse> {
    const { policy_id, version, settings, anchor } = await this.policies.one(id);
    const now = currentRequest()?.instant?.time ?? this.clock.iso();
    const { vms, left_out } = await this.policies.selection(policy_id, settings, now);
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: settings.repository_id });
    const next: Due[] = [];
    for (const due of occurrencesAfter(parseSchedule(settings.schedule, settings.time_zone, anchor.toISOString()), now)) {
      if (next.push(due) === SHOWN_OCCURRENCES) break;
    }
    const sentence = describePolicy(settings, { vms: vms.length, repository: repository?.name ?? null });
    return { policy_id, version, sentence, next_occurrences: next, vms: [...vms], left_out: [...left_out] };
  }
}
