import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { validationProblem } from '../../../../lib/http/problem.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { PresentOnly } from '../../../../lib/http/query.guard.js';
import { findInstant } from '../../../operations/http/as-of.interceptor.js';
import { PastInstants } from '../../../store/postgres/past-instants.js';
import { DiffQuery, HistoryDiffResponse } from './diff.dto.js';
import { DiffReader, MAX_EVENTS } from './diff.reader.js';

@ApiTags('history')
@Controller('history')
export class DiffController {
  constructor(
    private readonly instants: PastInstants,
    private readonly reader: DiffReader,
  ) {}

  @Get('diff')
  @PresentOnly()
  @ApiOperation({ summary: 'What was added, removed and changed between two instants', description: `At most ${MAX_EVENTS} events may lie in between.` })
  @ApiOkResponse({ type: HistoryDiffResponse })
  @ApiProblem(503, 'history_incomplete', 'projection_halted')
  async diff(@Query() query: DiffQuery): Promise<HistoryDiffResponse> {
    const from = await findInstant(this.instants, 'from', query.from);
    const to = await findInstant(this.instants, 'to', query.to);
    if ((from.position ?? '') > (to.position ?? '')) {
      throw validationProblem([{ field: 'to', rule: 'not_before_from', message: 'to must not be before from' }]);
    }
    const changes = await this.reader.between(from, to);
    if (changes === null) {
      throw validationProblem([{ field: 'from', rule: 'max_events', message: `from must be closer to to: at most ${MAX_EVENTS} events may lie in between` }]);
    }
    return { from, to, changes: [...changes] };
  }
}
