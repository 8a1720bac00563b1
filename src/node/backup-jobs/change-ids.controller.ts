import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { type NodeChangeIds, NodeChangeIdsQuery, type NodeChangeIdsRemoved, NodeRemoveChangeIds } from '../../contract/change-ids.js';
import { BackupJobs } from './backup-jobs.service.js';

/** The hub decides which change ids are needed; the node never removes any on its own. */
@Controller('change-ids')
export class ChangeIdsController {
  constructor(private readonly jobs: BackupJobs) {}

  @Get()
  list(@Query() query: NodeChangeIdsQuery): Promise<NodeChangeIds> {
    return this.jobs.changeIds(query.hub_id);
  }

  @Post('remove')
  @HttpCode(200)
  remove(@Body() body: NodeRemoveChangeIds): Promise<NodeChangeIdsRemoved> {
    return this.jobs.removeChangeIds(body);
  }
}
