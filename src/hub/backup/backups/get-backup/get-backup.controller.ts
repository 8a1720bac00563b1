import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource, In } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { LockReader } from '../../../repositories/repositories/model/lock.reader.js';
import { BackupWithCopiesResponse, type LockResponse, toBackupResponse } from '../model/backup.response.js';

/** How long it waits for the attributes of the files. */
const LOOK_MS = 2_000;

@ApiTags('backups')
@Controller('backups')
export class GetBackupController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly locks: LockReader,
  ) {}

  @Get(':backup_id')
  @ApiOperation({ summary: 'One backup' })
  @ApiParam({ name: 'backup_id', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  @ApiOkResponse({ type: BackupWithCopiesResponse })
  @ApiProblem(404, 'backup_not_found')
  async get(@Param('backup_id', UuidParam) id: string): Promise<BackupWithCopiesResponse> {
    const record = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: id });
    if (record === null) throw new DomainError('not_found', 'backup_not_found', `There is no backup ${id}.`, { backup_id: id });
    const copies = await this.dataSource.getRepository(CopyReadModel).find({
      where: { backup_id: id, status: In(['pending', 'running', 'completed']) },
      order: { created_position: 'ASC' },
    });
    return Object.assign(toBackupResponse(record), {
      lock: await this.lockOf(record),
      copies: copies.map(({ copy_id, repository_id, status, form, damage }) => ({ copy_id, repository_id, status, form, damaged: damage !== null })),
    });
  }
  private async lockOf(record: BackupReadModel): Promise<LockResponse> {
    if (record.status !== 'completed') return { level: 'none', immutable: 'none' };
    return this.locks.level(record, record.locked_until, LOOK_MS);
  }
}
