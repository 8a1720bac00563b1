import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { PolicyReader } from '../model/policy.reader.js';
import { PolicyResponse, toPolicyResponse } from '../model/policy.response.js';

@ApiTags('policies')
@Controller('policies')
export class GetPolicyController {
  constructor(private readonly policies: PolicyReader) {}

  @Get(':id')
  @ApiOperation({ summary: 'One policy' })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiOkResponse({ type: PolicyResponse })
  @ApiProblem(404, 'policy_not_found')
  async get(@Param('id', UuidParam) id: string): Promise<PolicyResponse> {
    return toPolicyResponse(await this.policies.one(id));
  }
}
