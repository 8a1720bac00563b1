import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { RepositoryStorageDto } from './measure-storage.dto.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';

@ApiTags('repositories')
@Controller('repositories')
export class MeasureStorageController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly clock: Clock,
  ) {}

  @Get(':id/storage')
  @PresentOnly()
  @ApiOperation({ summary: 'Measure the space of a repository' })
  @ApiOkResponse({ type: RepositoryStorageDto })
  @ApiProblem(404, 'repository_not_found')
  @ApiProblem(503, 'repository_unavailable')
  async measure(@Param('id', UuidParam) id: string): Promise<RepositoryStorageDto> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: id });
    if (repository === null) throw new DomainError('not_found', 'repository_not_found', `There is no repository ${id}.`, { repository_id: id });
    await this.files.checkPresent(id, repository.path);
    const [space, usage] = await Promise.all([this.files.space(repository.path), this.files.usage(repository.path)]);
    return { ...space, ...usage, measured_at: this.clock.iso() };
  }
}
