import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { DomainError } from '../../../../kernel/domain-error.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { answerHistory, EventHistoryResponse, FOLLOWED_LIVE } from '../../../operations/http/event-history.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { wantsEventStream } from '../../../operations/http/server-sent-events.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { restoreJobStream } from '../model/restore-job.events.js';
import { vmRestoreStream } from '../model/vm-restore.events.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';

@ApiTags('restore')
@Controller('restore/jobs')
export class FollowRestoreEventsController {
  constructor(
    private readonly store: EventStore,
    private readonly feed: EventFeed,
    private readonly progress: RestoreProgress,
  ) {}

  @Get(':job_id/events')
  @Streams('event_stream', wantsEventStream)
  @ApiOperation({
    summary: 'Show the history of a restore job, oldest event first',
    description: `${FOLLOWED_LIVE} Progress gives the phase (copying or comparing) and percentage of each disk. The stream ends when the job is cleaned up.`,
  })
  @ApiProduces('application/json', 'text/event-stream')
  @ApiOkResponse({ type: EventHistoryResponse, description: 'All events of the job' })
  @ApiProblem(404, 'restore_job_not_found')
  async events(@Param('job_id', UuidParam) jobId: string, @Req() request: Request, @Res() response: Response): Promise<void> {
    const history = {
      stream: await this.streamOf(jobId),
      isAtRest: (types: ReadonlySet<string>) => types.has('RestoreJobCleanedUp') || types.has('VmRestoreCleanedUp'),
      progress: this.progress.changes(jobId),
      unknown: new DomainError('not_found', 'restore_job_not_found', `Restore job ${jobId} does not exist.`, { job_id: jobId }),
    };
    await answerHistory(this.store, this.feed, history, request, response);
  }

  private async streamOf(jobId: string): Promise<string> {
    for await (const _ of this.store.read(vmRestoreStream(jobId), { limit: 1 })) return vmRestoreStream(jobId);
    return restoreJobStream(jobId);
  }
}
