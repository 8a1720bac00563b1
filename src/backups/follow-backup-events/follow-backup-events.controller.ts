import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiProperty, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { DomainError } from '../../kernel/domain-error.js';
import type { JsonObject } from '../../kernel/json.js';
import { EventFeed } from '../../platform/event-store/event-feed.js';
import { EventStore, type RecordedEvent } from '../../platform/event-store/event-store.port.js';
import { ApiProblem } from '../../platform/http/problem-responses.decorator.js';
import { EventStream, lastEventIdOf, wantsEventStream } from '../../platform/http/server-sent-events.js';
import { UuidParam } from '../../platform/http/uuid-param.pipe.js';
import { LiveProgress } from '../../platform/live-progress/live-progress.js';
import type { NodeJobReport } from '../../platform/node-api/node-api.js';
import { backupStream } from '../model/backup.events.js';
import { isAtRest } from './follow-backup-events.plan.js';

export class BackupEventResponse {
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly event_id!: string;
  @ApiProperty({ description: 'From 0 within the backup', example: 3 }) readonly revision!: number;
  @ApiProperty({ description: 'Opaque', example: '00000000000000000042' }) readonly position!: string;
  @ApiProperty({ example: 'SnapshotTaken' }) readonly type!: string;
  @ApiProperty({ example: '2026-01-31T10:30:02.120Z' }) readonly time!: string;
  @ApiProperty({ example: 'node:0199a3c0-2b40-7d10-b1de-64f0a52c9e02' }) readonly actor!: string;
  @ApiProperty({ example: '0199a3c4-0000-7000-8000-000000000001' }) readonly correlation_id!: string;
  @ApiProperty({ type: Object, example: { instant: '2026-01-31T10:30:02.101Z', change_ids: [] } }) readonly data!: JsonObject;
}

export class BackupEventsResponse {
  @ApiProperty({ type: [BackupEventResponse] }) readonly events!: BackupEventResponse[];
}

@ApiTags('Backups')
@Controller('backups')
export class FollowBackupEventsController {
  constructor(
    private readonly store: EventStore,
    private readonly feed: EventFeed,
    private readonly live: LiveProgress,
  ) {}

  @Get(':backup_id/events')
  @ApiOperation({
    summary: "A backup's history, oldest first",
    description:
      'With `Accept: text/event-stream` it is followed live: each event under its own name with its revision as id (so `Last-Event-ID` resumes), and in between `progress` with the newest figures of the transfer. The stream ends when the backup is through with everything.',
  })
  @ApiProduces('application/json', 'text/event-stream')
  @ApiOkResponse({ type: BackupEventsResponse, description: 'All events of the backup' })
  @ApiProblem(404, 'backup_not_found')
  async events(@Param('backup_id', UuidParam) backupId: string, @Req() request: Request, @Res() response: Response): Promise<void> {
    const history: BackupEventResponse[] = [];
    for await (const event of this.store.read(backupStream(backupId))) history.push(entryOf(event));
    if (history.length === 0) throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
    if (wantsEventStream(request)) await this.follow(backupId, request, response);
    else response.json({ events: history });
  }

  private async follow(backupId: string, request: Request, response: Response): Promise<void> {
    const seen = lastEventIdOf(request);
    const after = seen !== null && /^\d{1,15}$/.test(seen) ? Number(seen) : -1;
    const stream = new EventStream(request, response);
    const types = new Set<string>();
    /** Only the newest figures matter to a client that reads slowly. */
    let unsent: NodeJobReport | null = null;
    await new Promise<void>((resolve, reject) => {
      const progress = this.live.reports(backupId).subscribe((report) => {
        const idle = unsent === null;
        unsent = report;
        if (!idle) return;
        const send = async (): Promise<void> => {
          const newest = unsent;
          unsent = null;
          if (newest !== null) await stream.send({ event: 'progress', data: figuresOf(newest) });
        };
        send().catch(reject);
      });
      const events = this.feed.stream(backupStream(backupId)).subscribe({
        next: (event) => {
          types.add(event.type);
          if (event.revision > after) {
            stream.send({ id: String(event.revision), event: event.type, data: asJson(entryOf(event)) }).catch(reject);
          }
          if (isAtRest(types)) resolve();
        },
        error: reject,
        complete: resolve,
      });
      stream.signal.addEventListener('abort', () => resolve(), { once: true });
      const leave = (): void => {
        progress.unsubscribe();
        events.unsubscribe();
      };
      stream.signal.addEventListener('abort', leave, { once: true });
    });
    await stream.end();
  }
}

function entryOf(event: RecordedEvent): BackupEventResponse {
  return {
    event_id: event.id,
    revision: event.revision,
    position: event.position,
    type: event.type,
    time: event.metadata.time,
    actor: event.metadata.actor,
    correlation_id: event.metadata.$correlationId,
    data: event.data,
  };
}

/** The answer's class has plain members only, so it is what its JSON is. */
function asJson(entry: BackupEventResponse): JsonObject {
  const { event_id, revision, position, type, time, actor, correlation_id, data } = entry;
  return { event_id, revision, position, type, time, actor, correlation_id, data };
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
