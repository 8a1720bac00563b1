import { Readable } from 'node:stream';
import { Controller, Get, Query, Req, StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { Request } from 'express';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { historyOf } from '../../../store/event-store/history-of.js';
import { Streams } from '../../../operations/http/stream-limits.js';
import { AuditEventResponse, recordedEventResponse, toAuditEventResponse } from '../audit-event.response.js';
import { type AuditFilter, AuditLog, logOrder, type LogOrder, type LogPlace, placeOf } from '../audit-log.reader.js';
import { ListEventsQuery } from './list-events.dto.js';

const NDJSON = 'application/x-ndjson';

@ApiTags('audit')
@Controller('audit')
export class ListEventsController {
  constructor(
    private readonly log: AuditLog,
    private readonly store: EventStore,
  ) {}

  @Get('events')
  @Streams('download', asksForLines)
  @ApiOperation({
    summary: 'Search the events of the whole store',
    description: `With \`Accept: ${NDJSON}\` all matching events are streamed, one JSON object per line, regardless of limit and cursor. Oldest first and without filters, they come from the event store itself, for \`sendense ledger verify\`.`,
  })
  @ApiProduces('application/json', NDJSON)
  @ApiPage('events', AuditEventResponse, 'A page of events')
  async list(@Query() query: ListEventsQuery, @Req() request: Request): Promise<Page<'events', AuditEventResponse> | StreamableFile> {
    if (asksForLines(request)) {
      return new StreamableFile(Readable.from(this.lines(query)), { type: NDJSON, disposition: 'attachment; filename="audit-events.ndjson"' });
    }
    const beyond = decodeCursor(query.cursor, (key): key is LogPlace => isPlace(key, logOrder(query)));
    const events = await this.log.find(query, beyond, query.limit + 1);
    return pageOf('events', events, query.limit, (event) => placeOf(query, event), toAuditEventResponse);
  }

  private async *lines(filter: AuditFilter): AsyncGenerator<string, void, undefined> {
    if (isWholeHistory(filter)) return yield* this.history();
    for await (const event of this.log.export(filter)) yield `${JSON.stringify(toAuditEventResponse(event))}\n`;
  }

  private async *history(): AsyncGenerator<string, void, undefined> {
    for await (const events of historyOf(this.store, null, await this.store.head())) {
      yield events.map((event) => `${JSON.stringify(recordedEventResponse(event))}\n`).join('');
    }
  }
}

/** Whether the filter selects all events in the order of the store. */
function isWholeHistory({ stream, category, type, actor, correlation_id, since, until, order }: AuditFilter): boolean {
  return order === 'oldest_first' && [stream, category, type, actor, correlation_id, since, until].every((wanted) => wanted === undefined);
}

/** Whether the client asks for all matching events instead of a page. */
function asksForLines(request: Request): boolean {
  return request.accepts(['application/json', NDJSON]) === NDJSON;
}

/** A cursor is valid only for the order it was issued for. */
function isPlace(key: JsonObject, order: LogOrder): key is LogPlace {
  const { position, time, revision } = key;
  switch (order) {
    case 'time':
      return typeof position === 'string' && typeof time === 'string' && isStoredInstant(time);
    case 'revision':
      return typeof revision === 'number';
    case 'position':
      return typeof position === 'string';
  }
}

function isStoredInstant(text: string): boolean {
  const milliseconds = Date.parse(text);
  return !Number.isNaN(milliseconds) && new Date(milliseconds).toISOString() === text;
}
