import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import { API_TOKEN, type HttpApp, NODE_TOKEN, startHttpApp } from '../../../../../test/support/http-app.js';
import { until } from '../../../../../test/support/hub-system.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import type { RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { MetricsModule } from '../../../operations/metrics/metrics.module.js';
import { DOCS_PATH } from '../../../operations/http/open-api.js';
import { RefusalsRecorder } from './refusals.recorder.js';

let http: HttpApp;

beforeAll(async () => {
  http = await startHttpApp([], { imports: [MetricsModule], providers: [Clock, Ids, RefusalsRecorder] });
});

afterAll(async () => {
  await http.close();
});

async function recorded(): Promise<RecordedEvent[]> {
  const found: RecordedEvent[] = [];
  for await (const event of http.store.read('refusal-127.0.0.1')) found.push(event);
  return found;
}

const call = (token: string | null, path = '/api/v1/metrics') => {
  const sent = request(http.app.getHttpServer()).get(path);
  return token === null ? sent : sent.set('Authorization', `Bearer ${token}`);
};

describe('a hub that receives wrong tokens', () => {
  it('records them once per address, without the token, and keeps serving the right one', async () => {
    for (let count = 0; count < 30; count += 1) expect((await call('wrong-token-of-somebody')).status).toBe(401);
    expect((await call(API_TOKEN)).status).toBe(200);
    const events = await until('the event', async () => (await recorded()).length > 0 && (await recorded()));
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      type: 'RequestsRefused',
      data: { source_address: '127.0.0.1', refused: 1, code: 'token_invalid', method: 'GET', path: '/api/v1/metrics' },
      metadata: { actor: 'system:refusals' },
    });
    expect(JSON.stringify(events)).not.toContain('wrong-token');
  });

  it('counts refused requests on every route', async () => {
    expect((await call(null)).status).toBe(401);
    expect((await call(NODE_TOKEN)).status).toBe(403);
    expect((await call('wrong', DOCS_PATH)).status).toBe(401);
    const { text } = await call(API_TOKEN);
    expect(text).toContain('sendense_http_refusals_total{code="token_invalid"} 31');
    expect(text).toContain('sendense_http_refusals_total{code="token_missing"} 1');
    expect(text).toContain('sendense_http_refusals_total{code="api_token_needed"} 1');
  });

  it('keeps its API page from other origins, and the token out of the browser', async () => {
    const page = await call(API_TOKEN, DOCS_PATH);
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    expect(page.text).not.toMatch(/<script(?![^>]*\ssrc=)[^>]*>[^<]/);
    const setup = await call(API_TOKEN, `${DOCS_PATH}/swagger-ui-init.js`);
    expect(setup.text).not.toContain('persistAuthorization');
  });
});
