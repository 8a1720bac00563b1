import { appendFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Body, Controller, Get, HttpCode, Post } from '@nestjs/common';
import request from 'supertest';
import { type HttpApp, NODE_TOKEN, startHttpApp } from '../../../test/support/http-app.js';
import { CallingNode, NodeOnly, Public } from '../http/bearer.guard.js';
import { answerProof, type CallToSign, MAX_CLOCK_DIFFERENCE_MS, newNonce, parseSignature, PROOF_HEADER, signatureHeader } from './call-signature.js';
import { NodeCredentials } from './node-credentials.js';
import { SeenNonces } from './seen-nonces.js';

@Controller('calls')
class CallsController {
  @NodeOnly()
  @Post('report')
  @HttpCode(200)
  report(@Body() body: object, @CallingNode() nodeId: string | null): object {
    return { body, nodeId };
  }
  @NodeOnly()
  @Post('quiet')
  @HttpCode(204)
  quiet(): void {
    return undefined;
  }
  @Public()
  @Get('health')
  health(): object {
    return { status: 'ok' };
  }
  @Get('secrets')
  secrets(): object {
    return {};
  }
}

const OWN = 'token-of-the-first-node';
const OTHER = 'token-of-the-second-node';
let http: HttpApp;

beforeAll(async () => {
  http = await startHttpApp([CallsController]);
});
beforeEach(() => {
  http.app.get(NodeCredentials).replace([
    { nodeId: 'first', url: 'http://127.0.0.1:9082', status: 'enrolled', send: OWN, accept: [OWN] },
    { nodeId: 'second', url: 'http://127.0.0.1:9083', status: 'enrolled', send: OTHER, accept: [OTHER] },
  ]);
});
afterAll(async () => {
  await http.close();
});

const CALL: CallToSign = { direction: 'to_hub', method: 'POST', path: '/api/v1/calls/report', body: '{"a":1}' };

function signed(token: string, nodeId: string | null, changes: { call?: Partial<CallToSign>; timeMs?: number; nonce?: string } = {}): string {
  return signatureHeader(token, { ...CALL, ...changes.call }, { nodeId, timeMs: changes.timeMs ?? Date.now(), nonce: changes.nonce ?? newNonce() });
}

function report(authorization: string, body = '{"a":1}') {
  return request(http.app.getHttpServer()).post(CALL.path).set('Authorization', authorization).set('Content-Type', 'application/json').send(body);
}

describe('a signed call', () => {
  it('is made in the name of the node whose token signed it, and answered with a proof', async () => {
    const nonce = newNonce();
    const answer = await report(signed(OWN, 'first', { nonce }));
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ body: { a: 1 }, nodeId: 'first' });
    expect(answer.headers[PROOF_HEADER]).toBe(answerProof(OWN, nonce, 200, answer.text));
  });

  it('gets a proof without a body, when refused, and on a public route', async () => {
    const nonce = newNonce();
    const path = '/api/v1/calls/quiet';
    const quiet = await request(http.app.getHttpServer())
      .post(path)
      .set('Authorization', signed(OWN, 'first', { nonce, call: { path, body: '' } }));
    expect(quiet.status).toBe(204);
    expect(quiet.headers[PROOF_HEADER]).toBe(answerProof(OWN, nonce, 204, ''));

    const health = await request(http.app.getHttpServer())
      .get('/api/v1/calls/health')
      .set('Authorization', signed(OWN, 'first', { nonce: `${nonce}2`, call: { method: 'GET', path: '/api/v1/calls/health', body: '' } }));
    expect(health.headers[PROOF_HEADER]).toBe(answerProof(OWN, `${nonce}2`, 200, health.text));
    expect((await request(http.app.getHttpServer()).get('/api/v1/calls/health')).headers[PROOF_HEADER]).toBeUndefined();
  });

  it('with the shared token has no node identity', async () => {
    expect((await report(signed(NODE_TOKEN, null))).body).toMatchObject({ nodeId: null });
    expect((await report(signed(NODE_TOKEN, 'registered-by-url'))).body).toMatchObject({ nodeId: null });
  });

  it.each([
    ['with the token of another node', () => signed(OTHER, 'first')],
    ['with the shared token for a node that has its own', () => signed(NODE_TOKEN, 'first')],
    ['with its own token without a node id', () => signed(OWN, null)],
    ['for another body', () => signed(OWN, 'first', { call: { body: '{"a":2}' } })],
    ['for another path', () => signed(OWN, 'first', { call: { path: '/api/v1/calls/quiet' } })],
    ['for another method', () => signed(OWN, 'first', { call: { method: 'PUT' } })],
    ['by the hub, and sent back to it', () => signed(OWN, 'first', { call: { direction: 'to_node' } })],
  ])('is refused when it is signed %s', async (_, authorization) => {
    const answer = await report(authorization());
    expect(answer.status).toBe(401);
    expect(answer.body).toMatchObject({ code: 'signature_invalid' });
    expect(answer.headers[PROOF_HEADER]).toBeUndefined();
  });

  it('is accepted once', async () => {
    const authorization = signed(OWN, 'first');
    await report(authorization).expect(200);
    expect((await report(authorization).expect(401)).body).toMatchObject({ code: 'call_repeated' });
  });

  it.each([-1, 1])('is refused when the clocks are too far apart (%i)', async (sign) => {
    const answer = await report(signed(OWN, 'first', { timeMs: Date.now() + sign * (MAX_CLOCK_DIFFERENCE_MS + 60_000) }));
    expect(answer.status).toBe(401);
    expect(answer.body).toMatchObject({ code: 'clocks_differ' });
  });

  it('is refused in any other form, and grants no access to API routes', async () => {
    expect((await report('Sendense-Mac node=first,mac=x').expect(401)).body).toMatchObject({ code: 'signature_malformed' });
    const path = '/api/v1/calls/secrets';
    const answer = await request(http.app.getHttpServer())
      .get(path)
      .set('Authorization', signed(OWN, 'first', { call: { method: 'GET', path, body: '' } }));
    expect(answer.status).toBe(403);
    expect(answer.body).toMatchObject({ code: 'api_token_needed' });
  });

  it('and the token itself are refused once the node is revoked, or before it is approved', async () => {
    for (const [status, code] of [
      ['revoked', 'node_revoked'],
      ['not_enrolled_yet', 'node_not_enrolled'],
    ] as const) {
      http.app.get(NodeCredentials).replace([{ nodeId: 'first', url: 'http://127.0.0.1:9082', status, send: null, accept: [OWN] }]);
      expect((await report(signed(OWN, 'first')).expect(401)).body).toMatchObject({ code });
      expect((await report(`Bearer ${OWN}`).expect(401)).body).toMatchObject({ code });
    }
  });

  it('identifies a caller by its token, not by the node name that it claims', async () => {
    expect((await report(`Bearer ${OTHER}`).set('X-Sendense-Node', 'first')).body).toMatchObject({ nodeId: 'second' });
  });
});

it('parses only its own format', () => {
  expect(parseSignature(undefined)).toBeNull();
  expect(parseSignature('Bearer x')).toBeNull();
  expect(parseSignature(`${signed(OWN, 'first')} `)).toBe('malformed');
  expect(parseSignature(signed(OWN, null))).toMatchObject({ nodeId: null });
});

describe('calls made before a restart', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sendense-seen-calls-'));
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  const problems: unknown[] = [];
  const kept = (nowMs: number, file = join(directory, 'kept')): SeenNonces => new SeenNonces(1000, { file, nowMs, onProblem: (error) => problems.push(error) });
  const NONCES = ['first-nonce-of-the-test', 'second-nonce-of-the-test', 'third-nonce-of-the-test'] as const;

  it('are still refused after it', async () => {
    const options = { seenCallsFile: join(directory, 'seen-calls') };
    const before = await startHttpApp([CallsController], options);
    const authorization = signed(NODE_TOKEN, null);
    const made = (app: HttpApp) =>
      request(app.app.getHttpServer()).post(CALL.path).set('Authorization', authorization).set('Content-Type', 'application/json').send('{"a":1}');
    await made(before).expect(200);
    await before.close();
    const after = await startHttpApp([CallsController], options);
    expect((await made(after).expect(401)).body).toMatchObject({ code: 'call_repeated' });
    await after.close();
    expect((await stat(`${options.seenCallsFile}.old`)).mode & 0o077).toBe(0);
  });

  it('are forgotten once they are too old to be replayed, regardless of the number of restarts', async () => {
    expect(kept(10_000).isNew(NONCES[0], 10_000)).toBe(true);
    const second = kept(10_400);
    expect(second.isNew(NONCES[0], 10_400)).toBe(false);
    expect(second.isNew(NONCES[1], 10_500)).toBe(true);
    const third = kept(10_900);
    expect(NONCES.map((nonce) => third.isNew(nonce, 10_900))).toEqual([false, false, true]);
    const fourth = kept(11_600);
    expect(NONCES.map((nonce) => fourth.isNew(nonce, 11_600))).toEqual([true, true, false]);
    expect((await readFile(join(directory, 'kept'), 'utf8')).trim().split('\n')).toHaveLength(2);
  });

  it('are remembered after a line cut short by a full disk, and without a file while the program runs', async () => {
    const file = join(directory, 'cut');
    kept(10_000, file).isNew(NONCES[0], 10_000);
    await appendFile(file, '\n100');
    const next = kept(10_000, file);
    expect([next.isNew(NONCES[0], 10_000), next.isNew(NONCES[1], 10_000)]).toEqual([false, true]);
    problems.length = 0;
    const nowhere = kept(10_000, join(directory, 'none', 'such'));
    expect([nowhere.isNew(NONCES[0], 10_000), nowhere.isNew(NONCES[0], 10_000)]).toEqual([true, false]);
    expect(problems[0]).toMatchObject({ code: 'ENOENT' });
  });
});

it('remembers nonces for as long as a call may be fresh, but not forever', () => {
  const seen = new SeenNonces(1000);
  expect(seen.isNew('a', 10_000)).toBe(true);
  expect(seen.isNew('a', 10_999)).toBe(false);
  expect(seen.isNew('b', 11_500)).toBe(true);
  expect(seen.isNew('b', 12_499)).toBe(false);
  expect(seen.isNew('a', 13_600)).toBe(true);
});
