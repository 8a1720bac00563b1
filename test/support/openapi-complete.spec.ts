import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiParam, ApiProperty, ApiTags, type OpenAPIObject } from '@nestjs/swagger';
import { IsString } from 'class-validator';
import { MetricsModule } from '../../src/hub/operations/metrics/metrics.module.js';
import { HealthController } from '../../src/hub/operations/health/health.controller.js';
import { NodeOnly } from '../../src/lib/http/bearer.guard.js';
import { ApiPage, PageQuery } from '../../src/hub/operations/http/cursor-page.js';
import { openApiDocument } from '../../src/hub/operations/http/open-api.js';
import { ApiProblem } from '../../src/lib/http/problem-responses.decorator.js';
import { type HttpApp, OPEN_API, startHttpApp } from './http-app.js';
import { assertOpenApiComplete, missingInOpenApi } from './openapi-complete.js';

class ThingDto {
  @ApiProperty({ example: 'a' })
  @IsString()
  name!: string;
}

class BareDto {
  @ApiProperty()
  @IsString()
  name!: string;
}

@ApiTags('things')
@Controller('things')
class DocumentedController {
  @Get()
  @ApiOperation({ summary: 'Lists things' })
  @ApiPage('things', ThingDto, 'One page of things')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  list(@Query() _query: PageQuery): unknown {
    return {};
  }

  @Post(':id')
  @HttpCode(202)
  @ApiOperation({ summary: 'Makes a thing' })
  @ApiParam({ name: 'id', description: 'Id of the thing', example: '1' })
  @ApiAcceptedResponse({ type: ThingDto })
  @ApiProblem(409, 'thing_exists')
  make(@Param('id') _id: string, @Body() body: ThingDto): ThingDto {
    return body;
  }

  @NodeOnly()
  @Post('reports/one')
  @HttpCode(200)
  @ApiOperation({ summary: 'Takes a report' })
  @ApiOkResponse({ type: ThingDto })
  report(@Body() body: ThingDto): ThingDto {
    return body;
  }
}

@Controller('bare')
class BareController {
  @Get()
  list(@Query('filter') _filter: string): unknown {
    return {};
  }

  @Post()
  @ApiOperation({ summary: 'Makes' })
  make(@Body() body: BareDto): BareDto {
    return body;
  }
}

let documented: HttpApp;
let bare: HttpApp;

beforeAll(async () => {
  documented = await startHttpApp([DocumentedController, HealthController], { imports: [MetricsModule] });
  bare = await startHttpApp([BareController]);
});

afterAll(async () => {
  await documented.close();
  await bare.close();
});

describe('a documented application', () => {
  let document: OpenAPIObject;

  beforeAll(() => {
    document = openApiDocument(documented.app, OPEN_API);
  });

  it('is complete', () => {
    assertOpenApiComplete(document);
  });

  it('each route says who may call it', () => {
    expect(document.paths['/api/v1/things']?.get?.security).toEqual([{ api_token: [] }]);
    expect(document.paths['/api/v1/things/reports/one']?.post?.security).toEqual([{ node_token: [] }]);
    expect(document.paths['/api/v1/health/live']?.get?.security).toEqual([]);
    expect(document.paths['/api/v1/health/live']?.get?.responses).not.toHaveProperty('401');
  });

  it('each command documents its Idempotency-Key, each query that it can wait', () => {
    const names = (parameters: readonly object[] | undefined): unknown[] => (parameters ?? []).map((parameter) => Reflect.get(parameter, 'name'));
    expect(names(document.paths['/api/v1/things/{id}']?.post?.parameters)).toEqual(expect.arrayContaining(['id', 'Idempotency-Key', 'X-Correlation-Id']));
    expect(names(document.paths['/api/v1/things']?.get?.parameters)).toEqual(expect.arrayContaining(['limit', 'cursor', 'after']));
  });

  it('the codes of a route stand beside those that hold everywhere', () => {
    const responses = document.paths['/api/v1/things/{id}']?.post?.responses ?? {};
    expect(Object.keys(responses).sort()).toEqual(['202', '400', '401', '403', '409', '413', '415', '422', '500', '503']);
  });
});

it('names everything that a bare application lacks', () => {
  const missing = missingInOpenApi(openApiDocument(bare.app, OPEN_API));
  expect(missing).toEqual(
    expect.arrayContaining([
      'GET /api/v1/bare: no summary',
      'GET /api/v1/bare: parameter filter has no description',
      'GET /api/v1/bare: parameter filter has no example',
      'GET /api/v1/bare: answer 200 has no schema',
      'POST /api/v1/bare: the body has no example for name',
      'POST /api/v1/bare: answer 201 has no schema',
    ]),
  );
  expect(() => {
    assertOpenApiComplete(openApiDocument(bare.app, OPEN_API));
  }).toThrow('is not complete');
});

it('an error answer without problem details is named', () => {
  const document = structuredClone(openApiDocument(documented.app, OPEN_API));
  const operation = document.paths['/api/v1/things']?.get;
  if (operation) operation.responses['418'] = { description: 'tea' };
  expect(missingInOpenApi(document)).toEqual(['GET /api/v1/things: answer 418 is not documented as application/problem+json']);
});
