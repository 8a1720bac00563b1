import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ChangeIdResponse, GetChangeIdQuery } from './get-change-id.dto.js';

@ApiTags('backups')
@Controller('backups')
export class GetChangeIdController {
  constructor(private readonly dataSource: DataSource) {}

  @Get('changeid')
  @ApiOperation({ summary: "A disk's last committed change id, from the VM's newest completed backup in one repository or in any" })
  @ApiOkResponse({ type: ChangeIdResponse })
  @ApiProblem(404, 'change_id_not_found')
  async get(@Query() { vm_name, disk_id, repository_id }: GetChangeIdQuery): Promise<ChangeIdResponse> {
    const newest = await this.dataSource.getRepository(BackupReadModel).findOne({
      where: { vm_name, status: 'completed', ...(repository_id === undefined ? {} : { repository_id: repository_id.toLowerCase() }) },
      order: { created_position: 'DESC' },
    });
    const disk = newest?.disks.find((each) => each.disk_id === disk_id);
    if (newest === null || disk === undefined || disk.change_id === null) {
      throw new DomainError('not_found', 'change_id_not_found', `Disk ${disk_id} of VM ${JSON.stringify(vm_name)} has no committed change id.`, {
        vm_name,
        disk_id,
      });
    }
    return { vm_name, disk_id, disk_key: disk.disk_key, change_id: disk.change_id, backup_id: newest.backup_id, repository_id: newest.repository_id };
  }
}
