import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import type { RequestedLocation } from '../model/repository.events.js';
import { requestedLocation } from '../model/requested-location.plan.js';
import { ShareMounts } from '../model/share-mounts.service.js';
import { RepositoryTestDto, TestRepositoryDto } from './test-repository.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class TestRepositoryController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly shares: ShareMounts,
    private readonly ids: Ids,
  ) {}

  @Post('test')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Test whether a folder or share can become a repository',
    description: 'A share is mounted, tried out and unmounted. Stores nothing and leaves no files behind.',
  })
  @ApiOkResponse({ type: RepositoryTestDto })
  @ApiProblem(400, 'repository_location_invalid')
  @ApiProblem(503, 'repository_unavailable')
  @ApiProblem(507, 'repository_full')
  async test(@Body() body: TestRepositoryDto): Promise<RepositoryTestDto> {
    return this.tried(requestedLocation(body)).catch((error: unknown) => {
      if (!(error instanceof DomainError)) throw error;
      const name = error.code === 'share_not_mounted' ? 'mounted' : error.code === 'repository_not_writable' ? 'writable' : null;
      if (name === null) throw error;
      return { ok: false, checks: [{ name, ok: false, detail: error.message }], capabilities: null, free_bytes: null, total_bytes: null };
    });
  }

  private async tried(requested: RequestedLocation): Promise<RepositoryTestDto> {
    return this.shares.whileReachable(this.ids.next(), requested, async (location) => {
      const others = (await this.dataSource.getRepository(RepositoryReadModel).find()).map(({ path }) => path);
      const isShare = location.type !== 'local';
      const { ok, checks, free_bytes, total_bytes } = await this.files.probe(location.path, others, null, isShare || location.require_mount);
      const capabilities = ok && isShare ? await this.files.measure(location.path) : null;
      return { ok, checks, capabilities, free_bytes, total_bytes };
    });
  }
}
