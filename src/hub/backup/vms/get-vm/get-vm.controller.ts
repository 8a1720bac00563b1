import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { toVmResponse, VmResponse } from '../model/vm.response.js';

@ApiTags('vms')
@Controller('vms')
export class GetVmController {
  constructor(private readonly dataSource: DataSource) {}

  @Get(':id')
  @ApiOperation({ summary: 'One registered VM' })
  @ApiParam({ name: 'id', example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiOkResponse({ type: VmResponse })
  @ApiProblem(404, 'vm_not_found')
  async get(@Param('id', UuidParam) id: string): Promise<VmResponse> {
    const vm = await this.dataSource.getRepository(VmReadModel).findOneBy({ vm_id: id });
    if (vm === null) throw new DomainError('not_found', 'vm_not_found', `There is no VM ${id}.`, { vm_id: id });
    return toVmResponse(vm);
  }
}
