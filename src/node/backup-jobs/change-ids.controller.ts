import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { NodeChangeIds, NodeChangeIdsRemoved } from '../../contract/node-api.js';
import { ChangeIdsQueryDto, RemoveChangeIdsDto } from './backup-job.dto.js';
import { BackupJobs } from './backup-jobs.service.js';

/** The hub decides which change ids are needed; the node never removes any on its own. */
@ApiTags('backup')
@Controller('change-ids')
export class ChangeIdsController {
  constructor(private readonly jobs: BackupJobs) {}

  @Get()
  list(@Query() query: ChangeIdsQueryDto): Promise<NodeChangeIds> {
    return this.jobs.changeIds(query.hub_id);
  }

  @Post('remove')
  @HttpCode(200)
  remove(@Body() body: RemoveChangeIdsDto): Promise<NodeChangeIdsRemoved> {
    return this.jobs.removeChangeIds(body);
  }
}
