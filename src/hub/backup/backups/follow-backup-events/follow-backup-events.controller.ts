import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { map } from 'rxjs';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { answerHistory, EventHistoryResponse, FOLLOWED_LIVE } from '../../../operations/http/event-history.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { wantsEventStream } from '../../../operations/http/server-sent-events.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { LiveProgress } from '../model/live-progress.registry.js';
import type { NodeJobReport } from '../../../../contract/backup-job.js';
import { backupStream } from '../model/backup.events.js';
import { isAtRest } from './follow-backup-events.plan.js';

@ApiTags('backups')
@Controller('backups')
export class FollowBackupEventsController {
  constructor(
    private readonly store: EventStore,
    private readonly feed: EventFeed,
    private readonly live: LiveProgress,
  ) {}

  @Get(':backup_id/events')
  @Streams('event_stream', wantsEventStream)
  @ApiOperation({
    summary: "A backup's history, oldest first",
    description: `${FOLLOWED_LIVE} The stream ends when the backup and its clean-up have finished.`,
  })
  @ApiProduces('application/json', 'text/event-stream')
  @ApiOkResponse({ type: EventHistoryResponse, description: 'All events of the backup' })
  @ApiProblem(404, 'backup_not_found')
  async events(@Param('backup_id', UuidParam) backupId: string, @Req() request: Request, @Res() response: Response): Promise<void> {
    const history = {
      stream: backupStream(backupId),
      isAtRest,
      progress: this.live.reports(backupId).pipe(map(figuresOf)),
      unknown: new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId }),
    };
    await answerHistory(this.store, this.feed, history, request, response);
  }
}

function figuresOf(report: NodeJobReport): JsonObject {
  return {
    status: report.status,
    current_phase: report.current_phase,
    bytes_transferred: report.bytes_transferred,
    total_bytes: report.total_bytes,
    transfer_speed_bps: report.transfer_speed_bps,
    eta_seconds: report.eta_seconds,
    progress_percent: report.progress_percent,
    disks: report.disks.map((disk) => ({
      disk_key: disk.disk_key,
      status: disk.status,
      bytes_transferred: disk.bytes_transferred,
      total_bytes: disk.total_bytes,
    })),
    timestamp: report.timestamp,
  };
}
