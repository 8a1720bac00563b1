import { randomUUID } from 'node:crypto';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Type } from 'class-transformer';
import { IsArray, IsIn, IsInt, IsString, MaxLength, Min, ValidateNested } from 'class-validator';
import request from 'supertest';
import { API_TOKEN, type HttpApp, NODE_TOKEN, startHttpApp } from '../../../../test/support/http-app.js';
import type { CommandContext } from '../../../kernel/command-context.js';
import { DomainError, type ErrorKind } from '../../../kernel/domain-error.js';
import { currentCorrelationId } from '../../../lib/logging/correlation.js';
import { EventStoreUnavailableError } from '../../store/event-store/event-store.port.js';
import { NodeOnly, Public } from '../../../lib/http/bearer.guard.js';
import { Context } from '../../../lib/http/command-context.interceptor.js';
import { PageQuery } from './cursor-page.js';
import { UuidParam } from './uuid-param.pipe.js';
import { Optional } from '../../../contract/validation/presence.decorators.js';

class DiskDto {
  @IsString()
  disk_key!: string;
}

class StartDto {
  @IsString()
  @MaxLength(20)
  vm_name!: string;

  @IsIn(['full', 'auto'])
  backup_type!: string;

  @Optional()
  @IsInt()
  @Min(1)
  count?: number;

  @Optional()
  @IsArray()
  @ValidateNested({ each: true })
  @Type(() => DiskDto)
  disks?: DiskDto[];
}

class FilterQuery extends PageQuery {
  @Optional()
  @IsString()
  @MaxLength(20)
  vm_name?: string;
}

const SECRET = 'postgres://user:hunter2@db/sendense';

@Controller('things')
class ThingsController {
  @Get()
  list(@Query() query: FilterQuery): unknown {
    return query;
  }

  @Get('correlation')
  correlation(@Context() context: CommandContext): unknown {
    return { context, current: currentCorrelationId() };
  }

  @Get('fails/:kind')
  fail(@Param('kind') kind: ErrorKind): never {
    throw new DomainError(kind, `some_${kind}`, 'The thing is so.', { thing: 'x', status: 'shadowed' });
  }

  @Get('defect')
  defect(): never {
    throw new Error(`cannot connect with ${SECRET}`);
  }

  @Get('store-away')
  storeAway(): never {
    throw new EventStoreUnavailableError(SECRET);
  }

  @Get('database-away')
  databaseAway(): never {
    throw Object.assign(new Error(`connect ECONNREFUSED ${SECRET}`), { code: 'ECONNREFUSED' });
  }

  @Get('by-id/:id')
  byId(@Param('id', UuidParam) id: string): unknown {
    return { id };
  }

  @Post()
  @HttpCode(202)
  start(@Body() body: StartDto): unknown {
    return { body };
  }

  @NodeOnly()
  @Post('telemetry')
  @HttpCode(200)
  telemetry(@Context() context: CommandContext): unknown {
    return context;
  }

  @Public()
  @Get('open')
  open(): unknown {
    return { open: true };
  }
}

let http: HttpApp;

beforeAll(async () => {
  http = await startHttpApp([ThingsController]);
});

afterAll(async () => {
  await http.close();
});

const server = () => request(http.app.getHttpServer());
const get = (path: string) => server().get(path).set('Authorization', `Bearer ${API_TOKEN}`);
const post = (path: string) => server().post(path).set('Authorization', `Bearer ${API_TOKEN}`);
const things = '/api/v1/things';

describe('errors are problem details', () => {
  it.each<[ErrorKind, number]>([
    ['invalid', 400],
    ['unauthenticated', 401],
    ['forbidden', 403],
    ['not_found', 404],
    ['conflict', 409],
    ['gone', 410],
    ['unprocessable', 422],
    ['upstream_broken', 502],
    ['unavailable', 503],
    ['upstream_unreachable', 503],
    ['upstream_silent', 504],
    ['storage_full', 507],
  ])('%s is %i, with code, detail, facts and correlation id', async (kind, status) => {
    const answer = await get(`${things}/fails/${kind}`);
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.body).toEqual({
      type: `urn:sendense:problem:some_${kind}`,
      title: expect.stringMatching(/^Some /),
      status,
      code: `some_${kind}`,
      detail: 'The thing is so.',
      instance: `${things}/fails/${kind}`,
      correlation_id: answer.headers['x-correlation-id'],
      thing: 'x',
    });
    expect(answer.headers['retry-after']).toBe(status === 503 ? '5' : undefined);
    expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Bearer realm="sendense"' : undefined);
  });

  it('a defect is 500 internal_error and does not reveal its cause', async () => {
    const answer = await get(`${things}/defect`);
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ code: 'internal_error' });
    expect(answer.text).not.toContain('hunter2');
    expect(answer.text).not.toContain('.ts');
  });

  it.each(['store-away', 'database-away'])('%s is 503 storage_unavailable with Retry-After, without the address', async (path) => {
    const answer = await get(`${things}/${path}`);
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('5');
    expect(answer.body).toMatchObject({ code: 'storage_unavailable' });
    expect(answer.text).not.toContain('hunter2');
  });

  it.each(['/api/v1/nothing', '/nothing', '/api', '/api/v1/things/by-id'])('unknown route %s is 404 route_not_found', async (path) => {
    const answer = await get(`${path}?token=hunter2`);
    expect(answer.status).toBe(404);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({ code: 'route_not_found', instance: path });
    expect(answer.text).not.toContain('hunter2');
  });

  it('a known path with another method is 405 with Allow', async () => {
    const answer = await server().put(things).set('Authorization', `Bearer ${API_TOKEN}`);
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toBe('GET, HEAD, POST');
    expect(answer.body).toMatchObject({ code: 'method_not_allowed', allowed: ['GET', 'HEAD', 'POST'] });
  });
});

describe('bodies', () => {
  it('every broken rule of every field is reported at once', async () => {
    const answer = await post(things).send({ backup_type: 'half', count: '3', extra: 1, disks: [{ disk_key: 'a' }, { disk_key: 5, more: true }] });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: 'validation_failed' });
    const errors: { field: string; rule: string }[] = answer.body.errors;
    expect(errors.map(({ field, rule }) => `${field} ${rule}`).sort()).toEqual([
      'backup_type is_in',
      'count is_int',
      'count min',
      'disks.1.disk_key is_string',
      'disks.1.more unknown_field',
      'extra unknown_field',
      'vm_name is_missing',
    ]);
    expect(answer.body.errors).toContainEqual({ field: 'disks.1.disk_key', rule: 'is_string', message: 'disks.1.disk_key must be a string' });
  });

  it('a missing body is treated as a body without fields', async () => {
    const answer = await post(things);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: 'validation_failed' });
  });

  it.each(['{"vm_name": "hunter2"', 'hunter2', '"hunter2"', 'null'])('%s is 400 malformed_json and is not quoted back', async (text) => {
    const answer = await post(things).set('Content-Type', 'application/json').send(text);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: 'malformed_json' });
    expect(answer.text).not.toContain('hunter2');
  });

  it('an array is refused', async () => {
    const answer = await post(things).send([{ vm_name: 'a', backup_type: 'full' }]);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([{ field: 'body', rule: 'is_object', message: 'the body must be a JSON object' }]);
  });

  it('NUL and unpaired surrogates are refused everywhere', async () => {
    const answer = await post(things)
      .set('Content-Type', 'application/json')
      .send('{"vm_name":"a\\u0000b","backup_type":"full","disks":[{"disk_key":"\\ud800"}]}');
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ field: 'vm_name', rule: 'no_nul' }),
        expect.objectContaining({ field: 'disks.0.disk_key', rule: 'well_formed' }),
      ]),
    );
  });

  it('deep nesting is refused instead of exhausting the stack', async () => {
    const answer = await post(things)
      .set('Content-Type', 'application/json')
      .send(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([expect.objectContaining({ rule: 'max_depth' })]);
  });

  it('more than 1 MiB is 413', async () => {
    const answer = await post(things).send({ vm_name: 'x'.repeat(1024 * 1024) });
    expect(answer.status).toBe(413);
    expect(answer.body).toMatchObject({ code: 'body_too_large', max_bytes: 1048576 });
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded'])('%s is 415', async (type) => {
    const answer = await post(things).set('Content-Type', type).send('vm_name=a');
    expect(answer.status).toBe(415);
    expect(answer.body).toMatchObject({ code: 'unsupported_media_type' });
  });

  it('a member named __proto__ changes nothing', async () => {
    const answer = await post(things).set('Content-Type', 'application/json').send('{"__proto__":{"polluted":true},"vm_name":"a","backup_type":"full"}');
    expect(answer.text).not.toContain('polluted":true');
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  it('valid names with Unicode and spaces pass unchanged', async () => {
    const answer = await post(things).send({ vm_name: 'größe 日本 💾', backup_type: 'full' });
    expect(answer.status).toBe(202);
    expect(answer.body).toEqual({ body: { vm_name: 'größe 日本 💾', backup_type: 'full' } });
  });
});

describe('paths and queries', () => {
  it.each([
    ['vm_name', 'given_once', '?vm_name=a&vm_name=b'],
    ['vm_name[]', 'unknown_field', '?vm_name[]=a'],
    ['vm_name', 'no_nul', '?vm_name=a%00b'],
    ['vm_name', 'max_length', `?vm_name=${'a'.repeat(5000)}`],
    ['other', 'unknown_field', '?other=1'],
    ['limit', 'min', '?limit=0'],
    ['limit', 'max', '?limit=1001'],
    ['limit', 'is_int', '?limit=ten'],
    ['after', 'position', '?after=%27%3B--'],
    ['query', 'max_parameters', `?${Array.from({ length: 60 }, (_, index) => `p${index}=1`).join('&')}`],
    ['id', 'is_uuid', '/by-id/not-a-uuid'],
    ['path', 'no_nul', '/by-id/%00'],
    ['path', 'percent_encoding', '/by-id/%ff'],
    ['path', 'max_length', `/by-id/${'a'.repeat(2000)}`],
  ])('%s that breaks %s is refused', async (field, rule, suffix) => {
    const answer = await get(`${things}${suffix}`);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toContainEqual(expect.objectContaining({ field, rule }));
  });

  it('limit is a number with a default', async () => {
    expect((await get(things)).body).toEqual({ limit: 100 });
    expect((await get(`${things}?limit=7&vm_name=a%20b`)).body).toEqual({ limit: 7, vm_name: 'a b' });
  });
});

describe('correlation', () => {
  it("uses the client's UUID for the request", async () => {
    const id = '0193a5c2-8a00-7000-8000-000000000001';
    const answer = await get(`${things}/correlation`).set('X-Correlation-Id', id.toUpperCase());
    expect(answer.headers['x-correlation-id']).toBe(id);
    expect(answer.body).toMatchObject({ current: id, context: { correlationId: id, actor: 'api:token' } });
  });

  it('creates an id if the client sends none or an invalid one', async () => {
    const answer = await get(`${things}/correlation`).set('X-Correlation-Id', 'x y {}');
    expect(answer.headers['x-correlation-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.body.current).toBe(answer.headers['x-correlation-id']);
  });
});

describe('access', () => {
  it('no token and a wrong token are 401', async () => {
    expect((await server().get(things)).body).toMatchObject({ status: 401, code: 'token_missing' });
    expect((await server().get(things).set('Authorization', 'Bearer wrong')).body).toMatchObject({ status: 401, code: 'token_invalid' });
    expect((await server().get(things).auth('any', API_TOKEN)).body).toMatchObject({ status: 401, code: 'token_missing' });
  });

  it("the node's token is valid only for the node's routes, and identifies the node", async () => {
    const telemetry = server().post(`${things}/telemetry`).set('Authorization', `Bearer ${NODE_TOKEN}`).set('X-Sendense-Node', 'node-1');
    expect((await telemetry).body).toMatchObject({ actor: 'node:node-1' });
    expect((await server().get(things).set('Authorization', `Bearer ${NODE_TOKEN}`)).body).toMatchObject({ status: 403, code: 'api_token_needed' });
    expect((await post(`${things}/telemetry`)).body).toMatchObject({ status: 403, code: 'node_token_needed' });
  });

  it('a node header that is not an id is refused', async () => {
    const answer = await server().post(`${things}/telemetry`).set('Authorization', `Bearer ${NODE_TOKEN}`).set('X-Sendense-Node', 'a b');
    expect(answer.body).toMatchObject({ status: 400, code: 'validation_failed' });
  });

  it('public routes need no token', async () => {
    expect((await server().get(`${things}/open`)).status).toBe(200);
  });

  it('answers carry safe headers and do not name the software', async () => {
    const { headers } = await get(things);
    expect(headers['x-powered-by']).toBeUndefined();
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['cache-control']).toBe('no-store');
  });
});

describe('the API page', () => {
  it.each(['/api/docs', '/api/docs/', '/api/docs/swagger-ui-init.js', '/api/docs/swagger-ui.css', '/api/openapi.json', '/API/docs'])(
    '%s needs the token, as a bearer or as a password',
    async (path) => {
      const refused = await server().get(path);
      expect(refused.status).toBe(401);
      expect(refused.headers['www-authenticate']).toMatch(/^Basic /);
      expect((await server().get(path).auth('browser', 'wrong')).status).toBe(401);
      expect((await server().get(path).set('Authorization', `Bearer ${NODE_TOKEN}`)).status).toBe(401);
      expect((await server().get(path).auth('browser', API_TOKEN)).status).toBe(200);
      expect((await get(path)).status).toBe(200);
    },
  );

  it('is where the bare address leads', async () => {
    const answer = await server().get('/');
    expect(answer.status).toBe(302);
    expect(answer.headers['location']).toBe('/api/docs');
  });

  it('there is no YAML document', async () => {
    expect((await get('/api/docs-yaml')).status).toBe(404);
  });
});

describe('reading own writes', () => {
  const recorded = async (): Promise<string> => {
    const metadata = { $correlationId: 'c', $causationId: 'd', actor: 'system:spec', hub_id: 'h', schema_version: 1, time: new Date().toISOString() };
    return (await http.store.append('thing-1', 'any', [{ id: randomUUID(), type: 'ThingHappened', data: {}, metadata }])).position;
  };

  it('waits until the read models reach the position', async () => {
    http.readModels.advanced('things', await recorded());
    const position = await recorded();
    const waiting = get(`${things}?after=${position}`).then((answer) => answer);
    const early = await Promise.race([waiting, get(things).then(() => 'still waiting')]);
    expect(early).toBe('still waiting');
    http.readModels.advanced('things', position);
    const answer = await waiting;
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ limit: 100 });
  });

  it('gives up with 503 read_model_behind', async () => {
    const answer = await get(`${things}?after=${await recorded()}`);
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({ code: 'read_model_behind' });
    expect(answer.headers['retry-after']).toBe('5');
  }, 60_000);

  it.each(['zzz', '1', '42', '9'.repeat(19), '9'.repeat(20), ''])('does not wait for %j, which the store never issued', async (position) => {
    const answer = await get(`${things}?after=${position}`);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([expect.objectContaining({ field: 'after', rule: 'position' })]);
  });

  it.each([`?after=${'1'.repeat(38)}`, `?cursor=${Buffer.from(JSON.stringify({ created_position: '1'.repeat(38) })).toString('base64url')}`])(
    'refuses the token of another kind of event store: %s',
    async (query) => {
      http.readModels.advanced('things', await recorded());
      const answer = await get(`${things}${query}`);
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject(
        query.startsWith('?after') ? { errors: [{ field: 'after', message: expect.stringContaining('moved to another store') }] } : { code: 'cursor_invalid' },
      );
    },
  );

  it('does not wait on a public route', async () => {
    const answer = await server().get(`${things}/open?after=${await recorded()}`);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([expect.objectContaining({ field: 'after', rule: 'unknown_field' })]);
  });
});

describe('query parameters that no route has', () => {
  it.each([
    `${things}/open?as_of=x`,
    `${things}/fails/gone?force=true`,
    `${things}?constructor=1`,
    `${things}?prototype=1`,
    `${things}?__proto__=1`,
    `${things}?toString=1`,
  ])('%s is refused', async (path) => {
    const answer = await get(path);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual(expect.arrayContaining([expect.objectContaining({ rule: 'unknown_field' })]));
  });
});

describe('members that validation cannot see', () => {
  it.each(['constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__proto__'])('%s is refused as unknown', async (name) => {
    const answer = await post(things).set('Content-Type', 'application/json').send(`{"vm_name":"a","backup_type":"full","${name}":{}}`);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([expect.objectContaining({ field: name, rule: 'unknown_field' })]);
  });
});

describe('a caller without a token', () => {
  const hostile = `{"a":${'{"b":'.repeat(28)}["${Array.from({ length: 5000 }, () => '\\u0000').join('","')}"]${'}'.repeat(28)}}`;

  it('has no byte of its body parsed or walked', async () => {
    for (const body of [hostile, 'no json', '[1]']) {
      const answer = await server().post(things).set('Content-Type', 'application/json').send(body);
      expect(answer.status).toBe(401);
      expect(answer.text.length).toBeLessThan(1000);
    }
  });

  it('is answered before its body arrives, and its connection is closed', async () => {
    const { socket, closed, text } = rawConnection();
    socket.write(`POST ${things} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 5000000000\r\n\r\n{`);
    await closed;
    expect(text()).toMatch(/^HTTP\/1\.1 401 /);
    expect(text()).toMatch(/connection: close/i);
  });
});

describe('a caller with a token', () => {
  it('gets at most twenty broken rules, in an answer of bounded size', async () => {
    const name = 'n'.repeat(64);
    const deep = `{"a":${`{"${name}":`.repeat(28)}["${Array.from({ length: 5000 }, () => '\\u0000').join('","')}"]${'}'.repeat(28)}}`;
    const answer = await post(things).set('Content-Type', 'application/json').send(deep);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toHaveLength(20);
    expect(answer.text.length).toBeLessThan(40_000);
  });

  it('gets an immediate answer that its body is too large', async () => {
    const { socket, closed, text } = rawConnection();
    socket.write(
      `POST ${things} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${API_TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 5000000000\r\n\r\n{`,
    );
    await closed;
    expect(text()).toMatch(/^HTTP\/1\.1 413 /);
    expect(text()).toContain('body_too_large');
  });
});

describe('input that is not an HTTP request', () => {
  it.each([
    ['nonsense', 'HELLO\r\n\r\n', 400],
    ['a head that is too large', `GET / HTTP/1.1\r\nHost: h\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 431],
    ['an unknown expectation', 'GET /api/v1/things HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n', 417],
  ])('%s is answered as a problem', async (_, sent, status) => {
    const { socket, closed, text } = rawConnection();
    socket.write(sent);
    await closed;
    expect(text()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text()).toMatch(/application\/problem\+json/);
  });
});

function rawConnection(): { readonly socket: Socket; readonly closed: Promise<void>; readonly text: () => string } {
  const { port } = http.app.getHttpServer().address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { socket, closed, text: () => received };
}
