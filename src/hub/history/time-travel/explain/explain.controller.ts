import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../../../kernel/domain-error.js';
import { validationProblem } from '../../../../lib/http/problem.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ExplainQuery, ExplanationResponse } from './explain.dto.js';
import { ExplainReader, KINDS } from './explain.reader.js';

@ApiTags('history')
@Controller('history')
export class ExplainController {
  constructor(private readonly reader: ExplainReader) {}

  @Get('explain')
  @ApiOperation({ summary: 'Why one thing is as it is: its events, their commands and actors, and what triggered these' })
  @ApiOkResponse({ type: ExplanationResponse })
  @ApiProblem(404, 'thing_not_found')
  async explain(@Query() query: ExplainQuery): Promise<ExplanationResponse> {
    const [named, ...others] = KINDS.flatMap((kind) => (query[kind] === undefined ? [] : [{ kind, id: query[kind] }]));
    if (named === undefined || others.length > 0) {
      throw validationProblem([{ field: 'query', rule: 'exactly_one', message: `the query must name exactly one of ${KINDS.join(', ')}` }]);
    }
    const explanation = await this.reader.explain(named.kind, named.id);
    if (explanation === null) throw new DomainError('not_found', 'thing_not_found', `There is no ${named.kind} ${named.id}.`, named);
    return explanation;
  }
}
