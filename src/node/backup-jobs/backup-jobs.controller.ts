import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { type NodeJobReport, NodeSettleBackup, type NodeSettled, NodeStartBackup } from '../../contract/backup-job.js';
import { JOB_ID } from '../../contract/words.js';
import { BackupJobs } from './backup-jobs.service.js';

@Controller('backup')
export class BackupJobsController {
  constructor(private readonly jobs: BackupJobs) {}

  @Post('start')
  @HttpCode(202)
  start(@Body() body: NodeStartBackup): Promise<NodeJobReport> {
    return this.jobs.start(body);
  }

  @Get(':job_id')
  report(@Param('job_id') jobId: string): Promise<NodeJobReport> {
    return this.jobs.report(jobId);
  }

  @Post(':job_id/settle')
  @HttpCode(200)
  async settle(@Param('job_id') jobId: string, @Body() body: NodeSettleBackup): Promise<NodeSettled> {
    // Unlike elsewhere, an unknown job may be settled here, so the id itself must be validated.
    if (!JOB_ID.test(jobId)) throw new DomainError('invalid', 'job_id_malformed', 'A job id has 1 to 64 letters, digits or dashes.');
    await this.jobs.settle(jobId, body);
    return { settled: true };
  }
}
