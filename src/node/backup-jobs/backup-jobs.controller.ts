import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../kernel/domain-error.js';
import { NodeJobReportDto } from '../../contract/job-report.dto.js';
import type { NodeJobReport } from '../../contract/node-api.js';
import { SettleBackupDto, SettledDto, StartBackupDto } from './backup-job.dto.js';
import { BackupJobs } from './backup-jobs.service.js';
import { JOB_ID } from './job-journal.js';

@ApiTags('backup')
@Controller('backup')
export class BackupJobsController {
  constructor(private readonly jobs: BackupJobs) {}

  @Post('start')
  @HttpCode(202)
  @ApiAcceptedResponse({ type: NodeJobReportDto })
  start(@Body() body: StartBackupDto): Promise<NodeJobReport> {
    return this.jobs.start(body);
  }

  @Get(':job_id')
  @ApiOkResponse({ type: NodeJobReportDto })
  report(@Param('job_id') jobId: string): Promise<NodeJobReport> {
    return this.jobs.report(jobId);
  }

  @Post(':job_id/settle')
  @HttpCode(200)
  @ApiOkResponse({ type: SettledDto })
  async settle(@Param('job_id') jobId: string, @Body() body: SettleBackupDto): Promise<SettledDto> {
    // Unlike elsewhere, an unknown job may be settled here, so the id itself must be validated.
    if (!JOB_ID.test(jobId)) throw new DomainError('invalid', 'job_id_malformed', 'A job id has 1 to 64 letters, digits or dashes.');
    await this.jobs.settle(jobId, body);
    return { settled: true };
  }
}
