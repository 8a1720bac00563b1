import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { type NodeBootCheckArtefacts, type NodeBootCheckReport, NodeStartBootCheck } from '../../contract/boot-check.js';
import type { NodeSettled } from '../../contract/backup-job.js';
import { JOB_ID } from '../../contract/words.js';
import { BootChecks } from './boot-checks.service.js';

@Controller('boot-checks')
export class BootChecksController {
  constructor(private readonly checks: BootChecks) {}

  @Post('start')
  @HttpCode(202)
  start(@Body() body: NodeStartBootCheck): Promise<NodeBootCheckReport> {
    return this.checks.start(body);
  }

  @Get(':check_id')
  report(@Param('check_id') checkId: string): NodeBootCheckReport {
    return this.checks.report(checkId);
  }

  @Get(':check_id/artefacts')
  artefacts(@Param('check_id') checkId: string): Promise<NodeBootCheckArtefacts> {
    return this.checks.artefacts(checkId);
  }

  @Post(':check_id/settle')
  @HttpCode(200)
  async settle(@Param('check_id') checkId: string): Promise<NodeSettled> {
    // An unknown check may be settled, so the id itself must be validated.
    if (!JOB_ID.test(checkId)) throw new DomainError('invalid', 'check_id_malformed', 'A check id has 1 to 64 letters, digits or dashes.');
    await this.checks.settle(checkId);
    return { settled: true };
  }
}
