import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DomainError } from '../../src/kernel/domain-error.js';
import { Public } from '../../src/lib/http/bearer.guard.js';
import type { JsonValue } from '../../src/kernel/json.js';
import { openApiDocument } from '../../src/hub/operations/http/open-api.js';
import type { ApiSchemas } from '../../src/hub/operations/http/open-api-schemas.js';
import { ApiProblem } from '../../src/lib/http/problem-responses.decorator.js';
import { ApiContract, type JsonMap, UndocumentedAnswerError } from './api-contract.js';
import { checkAnswersOf } from './checked-answers.js';
import { type HttpApp, OPEN_API, startHttpApp } from './http-app.js';

class ThingDto {}

const property = (type: string | string[], example: JsonValue) => ({ type, example });
const schemas: ApiSchemas = {
  NestedDto: { classes: ['NestedDto'], type: 'object', properties: { count: property('integer', 1) }, required: ['count'] },
  ThingDto: {
    classes: ['ThingDto'],
    type: 'object',
    properties: {
      id: { ...property('string', '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11'), format: 'uuid' },
      note: property(['string', 'null'], null),
      nested: { anyOf: [{ $ref: '#/components/schemas/NestedDto' }, { type: 'null' }] },
    },
    required: ['id', 'note', 'nested'],
  },
};

const THING = { id: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11', note: null, nested: null };
const ANSWERS: Readonly<Record<string, unknown>> = {
  right: THING,
  nested: { ...THING, note: 'a', nested: { count: 2 } },
  missing: { id: THING.id, nested: null },
  unknown: { ...THING, more: 1 },
  unknown_inside: { ...THING, nested: { count: 1, more: true } },
  wrong_type: { ...THING, note: 7 },
  wrong_format: { ...THING, id: 'seven' },
};

@ApiTags('things')
@Public()
@Controller('things')
class LyingController {
  @Get(':kind')
  @ApiOperation({ summary: 'Shows a thing' })
  @ApiOkResponse({ type: ThingDto })
  @ApiProblem(409, 'thing_busy')
  show(@Param('kind') kind: string, @Res({ passthrough: true }) response: Response): unknown {
    if (kind === 'busy') throw new DomainError('conflict', 'thing_busy', 'It is busy.', { since: 'yesterday' });
    if (kind === 'other_code') throw new DomainError('conflict', 'thing_broken', 'It is broken.');
    if (kind === 'other_status') throw new DomainError('gone', 'thing_gone', 'It is gone.');
    if (kind === 'other_type') response.type('text/html');
    return ANSWERS[kind] ?? THING;
  }

  @Post()
  @HttpCode(200)
  @ApiOperation({ summary: 'Makes a thing' })
  @ApiOkResponse({ type: ThingDto })
  make(): object {
    return THING;
  }
}

let http: HttpApp;
let url: string;

beforeAll(async () => {
  http = await startHttpApp([LyingController]);
  url = await http.app.getUrl();
  // The document is JSON, as it is served.
  const contract = new ApiContract(
    JSON.parse(JSON.stringify(openApiDocument(http.app, { ...OPEN_API, schemas: { ...OPEN_API.schemas, ...schemas } }))) as JsonMap,
  );
  checkAnswersOf(url, () => Promise.resolve(contract));
});

afterAll(async () => {
  await http.close();
});

const get = (kind: string, method = 'GET'): Promise<globalThis.Response> => fetch(`${url}/api/v1/things/${kind}`, { method });

describe('an answer of a hub under test', () => {
  it.each(['right', 'nested', 'busy'])('passes when it is documented: %s', async (kind) => {
    expect([200, 409]).toContain((await get(kind)).status);
  });

  it('can be read as before', async () => {
    expect(await (await get('right')).json()).toEqual(THING);
  });

  it.each([
    ['missing', /must have required property 'note'/],
    ['unknown', /undocumented members: \/more/],
    ['unknown_inside', /undocumented members: \/nested\/more/],
    ['wrong_type', /body\/note must be string,null/],
    ['wrong_format', /body\/id must match format "uuid"/],
    ['other_code', /its code "thing_broken" is not documented; there are thing_busy/],
    ['other_status', /the status is not documented for GET \/api\/v1\/things\/\{kind\}/],
    ['other_type', /its media type "text\/html" is not among the documented ones: application\/json/],
  ])('fails who asked when it is not documented: %s', async (kind, why) => {
    const asked = get(kind);
    await expect(asked).rejects.toThrow(UndocumentedAnswerError);
    await expect(asked).rejects.toThrow(`GET /api/v1/things/${kind} answered `);
    await expect(asked).rejects.toThrow(why);
  });

  it('may say that there is no such path or method', async () => {
    expect((await fetch(`${url}/api/v1/nothing`)).status).toBe(404);
    expect((await get('right', 'DELETE')).status).toBe(405);
    expect((await get('right', 'HEAD')).status).toBe(200);
  });
});
