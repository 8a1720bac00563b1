import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../kernel/domain-error.js';
import type { NodeVmRestoreReport } from '../../contract/node-api.js';
import { JOB_ID } from '../model/vm-definition.dto.js';
import { SettleVmRestoreDto, StartVmRestoreDto } from './vm-restore.dto.js';
import { VmRestores } from './vm-restores.service.js';

@ApiTags('vm-restores')
@Controller('vm-restores')
export class VmRestoresController {
  constructor(private readonly jobs: VmRestores) {}

  @Post('start')
  @HttpCode(202)
  start(@Body() body: StartVmRestoreDto): Promise<NodeVmRestoreReport> {
    return this.jobs.start(body);
  }

  @Get(':job_id')
  report(@Param('job_id') jobId: string): Promise<NodeVmRestoreReport> {
    return this.jobs.report(jobId);
  }

  @Post(':job_id/settle')
  @HttpCode(200)
  async settle(@Param('job_id') jobId: string, @Body() body: SettleVmRestoreDto): Promise<{ readonly settled: true }> {
    // Unlike elsewhere, an unknown job may be settled here, so the id itself must be validated.
    if (!JOB_ID.test(jobId)) throw new DomainError('invalid', 'job_id_malformed', 'A job id has 1 to 64 letters, digits or dashes.');
    await this.jobs.settle(jobId, body);
    return { settled: true };
  }
}
