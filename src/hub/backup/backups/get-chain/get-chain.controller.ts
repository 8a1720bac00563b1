import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { damageCode, toBackupResponse } from '../model/backup.response.js';
import { ChainResponse, GetChainQuery } from './get-chain.dto.js';

@ApiTags('backups')
@Controller('backups')
export class GetChainController {
  constructor(private readonly dataSource: DataSource) {}

  @Get('chain')
  @ApiOperation({ summary: "A VM's newest chain: the full and its incrementals" })
  @ApiOkResponse({ type: ChainResponse })
  @ApiProblem(404, 'vm_not_found', 'chain_not_found')
  async get(@Query() query: GetChainQuery): Promise<ChainResponse> {
    const chain = await this.newestChain(query);
    if (chain?.head_backup_id === undefined || chain.head_backup_id === null) return this.refuse(query);
    const backups = new Map(
      (await this.dataSource.getRepository(BackupReadModel).findBy({ backup_id: In(chain.points.map(({ backup_id }) => backup_id)) })).map((backup) => [
        backup.backup_id,
        backup,
      ]),
    );
    const ordered = chain.points.flatMap(({ backup_id }) => backups.get(backup_id) ?? []);
    return {
      chain_id: chain.chain_id,
      vm_id: chain.vm_id,
      vm_name: query.vm_name,
      repository_id: chain.repository_id,
      full_backup_id: chain.full_backup_id,
      head_backup_id: chain.head_backup_id,
      backups: ordered.map(toBackupResponse),
      backup_count: chain.points.length,
      total_size_bytes: ordered.flatMap(({ files }) => files ?? []).reduce((sum, file) => sum + file.size_bytes, 0),
      damaged: ordered.flatMap(({ backup_id, damage }) => (damage === null ? [] : [{ backup_id, code: damageCode(damage), detail: damage.detail }])),
      pruning: chain.pruning,
      pruning_failure: chain.pruning_failure,
      position: [chain.position, ...ordered.map(({ position }) => position)].reduce((newest, each) => (each > newest ? each : newest)),
    };
  }

  /** Searches by the name under which the chain's full was made. This also finds chains of VMs that are no longer registered. */
  private async newestChain({ vm_name, repository_id }: GetChainQuery): Promise<ChainReadModel | null> {
    const select = this.dataSource
      .getRepository(ChainReadModel)
      .createQueryBuilder('c')
      .innerJoin(BackupReadModel.definition.name, 'b', 'b.backup_id = c.full_backup_id')
      .where('b.vm_name = :vm_name and c.head_backup_id is not null', { vm_name })
      .orderBy('c.started_position', 'DESC')
      .limit(1);
    if (repository_id !== undefined) select.andWhere('c.repository_id = :repository_id', { repository_id: repository_id.toLowerCase() });
    return select.getOne();
  }

  private async refuse({ vm_name }: GetChainQuery): Promise<never> {
    const known = (await this.dataSource.getRepository(VmReadModel).existsBy({ name: vm_name })) || (await this.hasBackups(vm_name));
    if (!known) throw new DomainError('not_found', 'vm_not_found', `There is no VM named ${JSON.stringify(vm_name)}.`, { vm_name });
    throw new DomainError('not_found', 'chain_not_found', `VM ${JSON.stringify(vm_name)} has no matching restore point yet.`, { vm_name });
  }

  private async hasBackups(vmName: string): Promise<boolean> {
    return this.dataSource.getRepository(BackupReadModel).existsBy({ vm_name: vmName });
  }
}
