import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { EventStore, type RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { ApiPage, decodeCursor, type Page, PageQuery, pageOf } from '../../../operations/http/cursor-page.js';
import { untilInstant } from '../../../operations/http/event-history.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { AuditEventResponse, recordedEventResponse } from '../audit-event.response.js';

type StreamKey = { readonly revision: number };

@ApiTags('audit')
@Controller('audit')
export class ReadStreamController {
  constructor(private readonly store: EventStore) {}

  @Get('streams/:stream')
  @ApiOperation({ summary: 'Read one stream from the store, oldest event first' })
  @ApiParam({ name: 'stream', example: 'backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  @ApiPage('events', AuditEventResponse, 'A page of the stream')
  @ApiProblem(404, 'stream_not_found')
  async read(@Param('stream') stream: string, @Query() query: PageQuery): Promise<Page<'events', AuditEventResponse>> {
    const after = decodeCursor(query.cursor, isStreamKey);
    const events: RecordedEvent[] = [];
    const from = after === null ? 0 : after.revision + 1;
    for await (const event of untilInstant(this.store.read(stream, { from, limit: query.limit + 1 }))) events.push(event);
    if (events.length === 0 && after === null)
      throw new DomainError('not_found', 'stream_not_found', `There is no stream ${JSON.stringify(stream)}.`, { stream });
    return pageOf('events', events, query.limit, ({ revision }) => ({ revision }), recordedEventResponse);
  }
}

function isStreamKey(key: JsonObject): key is StreamKey {
  return typeof key['revision'] === 'number' && Number.isSafeInteger(key['revision']) && key['revision'] >= 0;
}
