import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiProduces, getSchemaPath } from '@nestjs/swagger';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ReportResponse } from './report.dto.js';

/** Headers of a report in each format: a CSV file has no other place for them. */
export const SHA256_HEADER = 'Report-Sha256';
export const PATH_HEADER = 'Report-Path';

/** Documents the answers of a report. */
export const ApiReport = (csv: string): MethodDecorator =>
  applyDecorators(
    ApiExtraModels(ReportResponse),
    ApiProduces('application/json', 'text/csv', 'text/html'),
    ApiOkResponse({
      description: 'The report',
      headers: {
        [SHA256_HEADER]: { description: '`sha256` of the report', schema: { type: 'string' }, example: '9b1d3c1f0e5b'.repeat(5) },
        [PATH_HEADER]: {
          description: 'Path and query that give the same report again',
          schema: { type: 'string' },
          example: '/api/v1/reports/protection?as_of=0000000000000000042&at=2026-11-21T10:30:00.000Z',
        },
      },
      content: {
        'application/json': { schema: { $ref: getSchemaPath(ReportResponse) } },
        'text/csv': { schema: { type: 'string' }, example: csv },
        'text/html': { schema: { type: 'string' }, example: '<!doctype html>' },
      },
    }),
    ApiProblem(503, 'history_incomplete', 'projection_halted'),
  );
