import { Controller, HttpCode, Param, Post } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiBody, ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { CallingNode, NodeOnly } from '../../../../lib/http/bearer.guard.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { NodeJobReport } from '../../../../contract/backup-job.js';
import { ReportedBody } from '../../../nodes/node-link/reported-body.decorator.js';
import { RecordTransferReport } from '../model/backup.commands.js';

@ApiTags('telemetry')
@Controller('telemetry')
export class RecordTransferReportController {
  constructor(private readonly commands: CommandBus) {}

  @Post('backup/:job_id')
  @NodeOnly()
  @HttpCode(204)
  @ApiOperation({
    summary: "A node's report on a backup job",
    description: 'The node pushes a report on each change, and regularly while it copies. Each report describes the whole job, so a lost report does no harm.',
  })
  @ApiBody({ type: NodeJobReport })
  @ApiNoContentResponse({ description: 'Accepted' })
  @ApiProblem(400, 'job_id_mismatch')
  @ApiProblem(403, 'not_your_job')
  async report(
    @Param('job_id', UuidParam) jobId: string,
    @ReportedBody(NodeJobReport) body: NodeJobReport,
    @CallingNode() caller: string | null,
    @Context() context: CommandContext,
  ): Promise<void> {
    if (body.job_id !== jobId) {
      throw new DomainError('invalid', 'job_id_mismatch', `The report is about job ${body.job_id} but was sent for job ${jobId}.`, { job_id: jobId });
    }
    await this.commands.execute(new RecordTransferReport(body, context, { by: caller }));
  }
}
