import { Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiAsksNode, ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { NodeClient } from '../../node-link/node-client.js';
import { DiscoveryDto } from './discover-vms.dto.js';

@ApiTags('nodes')
@Controller('nodes')
export class DiscoverVmsController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
  ) {}

  @Post(':id/discover')
  @HttpCode(200)
  @ApiOperation({ summary: 'List the VMs that a node finds', description: 'Registers nothing; POST /vms does.' })
  @ApiOkResponse({ type: DiscoveryDto })
  @ApiProblem(404, 'node_not_found')
  @ApiAsksNode()
  @ApiProblem(503, 'source_silent', 'image_root_silent', 'libvirt_unavailable')
  async discover(@Param('id') id: string): Promise<DiscoveryDto> {
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: id });
    if (node === null) throw new DomainError('not_found', 'node_not_found', `There is no node ${id}.`, { node_id: id });
    const [found, registered] = await Promise.all([this.nodes.listVms(node.url), this.dataSource.getRepository(VmReadModel).findBy({ node_id: id })]);
    const holders = new Map(registered.map((vm) => [`${vm.source}:${vm.source_ref}`, vm.vm_id]));
    return {
      vms: found.vms.map((vm) => ({
        name: vm.name,
        source: vm.source,
        source_ref: vm.source_ref,
        disks: vm.disks.map(({ disk_id, disk_key, size_bytes, format, change_tracking, problem }) => ({
          disk_id,
          disk_key,
          size_bytes,
          format,
          change_tracking,
          problem,
        })),
        left_out_disks: vm.left_out_disks ?? [],
        uuid: vm.uuid ?? null,
        state: vm.state ?? null,
        registered_vm_id: holders.get(`${vm.source}:${vm.source_ref}`) ?? null,
      })),
      silent_sources: found.silent_sources ?? [],
    };
  }
}
