import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { toVmResponse, VmResponse } from '../model/vm.response.js';
import { ListVmsQuery } from './list-vms.dto.js';

type VmsKey = { readonly name: string; readonly vm_id: string };

@ApiTags('vms')
@Controller('vms')
export class ListVmsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'Registered VMs, ordered by name' })
  @ApiPage('vms', VmResponse, 'A page of VMs')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListVmsQuery): Promise<Page<'vms', VmResponse>> {
    const after = decodeCursor(query.cursor, isVmsKey);
    const select = this.dataSource
      .getRepository(VmReadModel)
      .createQueryBuilder('v')
      .orderBy('v.name')
      .addOrderBy('v.vm_id')
      .take(query.limit + 1);
    if (query.name !== undefined) select.andWhere('v.name = :name', { name: query.name });
    if (query.node_id !== undefined) select.andWhere('v.node_id = :node_id', { node_id: query.node_id.toLowerCase() });
    if (after !== null) select.andWhere('(v.name, v.vm_id) > (:after_name, :after_id)', { after_name: after.name, after_id: after.vm_id });
    return pageOf('vms', await select.getMany(), query.limit, ({ name, vm_id }) => ({ name, vm_id }), toVmResponse);
  }
}

function isVmsKey(key: JsonObject): key is VmsKey {
  return typeof key['name'] === 'string' && typeof key['vm_id'] === 'string';
}
