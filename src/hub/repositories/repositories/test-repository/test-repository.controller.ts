import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { RepositoryTestDto, TestRepositoryDto } from './test-repository.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class TestRepositoryController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
  ) {}

  @Post('test')
  @HttpCode(200)
  @ApiOperation({ summary: 'Test whether a path can become a repository', description: 'Stores nothing and leaves no files behind.' })
  @ApiOkResponse({ type: RepositoryTestDto })
  @ApiProblem(503, 'repository_unavailable')
  async test(@Body() body: TestRepositoryDto): Promise<RepositoryTestDto> {
    const others = await this.dataSource.getRepository(RepositoryReadModel).find();
    const { ok, checks, free_bytes, total_bytes } = await this.files.probe(
      body.path,
      others.map((other) => other.path),
      null,
      body.require_mount ?? false,
    );
    return { ok, checks, free_bytes, total_bytes };
  }
}
