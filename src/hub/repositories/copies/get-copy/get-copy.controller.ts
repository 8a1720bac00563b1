import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { CopyProgress } from '../model/copy-progress.registry.js';
import { CopyResponse, toCopyResponse } from '../model/copy.response.js';

@ApiTags('copies')
@Controller('copies')
export class GetCopyController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly progress: CopyProgress,
  ) {}

  @Get(':copy_id')
  @ApiOperation({ summary: 'One copy' })
  @ApiOkResponse({ type: CopyResponse })
  @ApiProblem(404, 'copy_not_found')
  async get(@Param('copy_id', UuidParam) copyId: string): Promise<CopyResponse> {
    const copy = await this.dataSource.getRepository(CopyReadModel).findOneBy({ copy_id: copyId });
    if (copy === null) throw new DomainError('not_found', 'copy_not_found', `There is no copy ${copyId}.`, { copy_id: copyId });
    return toCopyResponse(copy, this.progress.of(copyId));
  }
}
