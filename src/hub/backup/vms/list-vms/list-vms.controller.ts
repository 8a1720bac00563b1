import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { toVmResponse, VmResponse } from '../model/vm.response.js';
import { ListVmsQuery } from './list-vms.dto.js';

@ApiTags('vms')
@Controller('vms')
export class ListVmsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'Registered VMs, ordered by name' })
  @ApiPage('vms', VmResponse, 'A page of VMs')
  list(@Query() query: ListVmsQuery): Promise<Page<'vms', VmResponse>> {
    return readPage(this.dataSource, query, {
      name: 'vms',
      readModel: VmReadModel,
      order: ['name', 'vm_id'],
      direction: 'ASC',
      filters: { name: query.name, node_id: query.node_id?.toLowerCase() },
      itemOf: toVmResponse,
    });
  }
}
