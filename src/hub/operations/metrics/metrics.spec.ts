import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get } from '@nestjs/common';
import request from 'supertest';
import { API_TOKEN, type HttpApp, startHttpApp } from '../../../../test/support/http-app.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { MetricsModule } from './metrics.module.js';

@Controller('things')
class ThingsController {
  @Get(':id')
  get(): string {
    return 'thing';
  }
}

let http: HttpApp;
let registry: MetricsRegistry;

beforeEach(async () => {
  http = await startHttpApp([ThingsController], { imports: [MetricsModule] });
  registry = http.app.get(MetricsRegistry);
});

afterEach(async () => {
  await http.close();
});

const get = (path: string) => request(http.app.getHttpServer()).get(path).set('Authorization', `Bearer ${API_TOKEN}`);

describe('metrics', () => {
  it('need the token', async () => {
    expect((await request(http.app.getHttpServer()).get('/api/v1/metrics')).status).toBe(401);
  });

  it('include the process and the HTTP requests by route template', async () => {
    await get('/api/v1/things/1');
    await get('/api/v1/things/2');
    await get('/api/v1/nothing/3');
    const answer = await get('/api/v1/metrics');
    expect(answer.headers['content-type']).toMatch(/^text\/plain; version=/);
    expect(answer.text).toContain('process_resident_memory_bytes');
    expect(answer.text).toContain('sendense_http_request_duration_seconds_count{method="GET",route="/api/v1/things/:id",status="200"} 2');
    expect(answer.text).toContain('sendense_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1');
    expect(answer.text).not.toContain('nothing');
  });

  it('include registered metrics, measured at each scrape', async () => {
    let free = 101;
    registry.gauge({ name: 'sendense_nbd_ports', help: 'Ports by state', labels: ['state'], collect: (gauge) => gauge.set({ state: 'free' }, free) });
    registry.counter({ name: 'sendense_backups_total', help: 'Backups', labels: ['status'] }).inc({ status: 'completed' });
    expect((await get('/api/v1/metrics')).text).toContain('sendense_nbd_ports{state="free"} 101');
    free = 99;
    const { text } = await get('/api/v1/metrics');
    expect(text).toContain('sendense_nbd_ports{state="free"} 99');
    expect(text).toContain('sendense_backups_total{status="completed"} 1');
  });

  it('a gauge that fails is left out and counted, and does not affect others', async () => {
    registry.gauge({ name: 'sendense_broken', help: 'Fails', labels: ['of'], collect: () => Promise.reject(new Error('away')) });
    registry.gauge({ name: 'sendense_broken_too', help: 'Fails', collect: () => Promise.reject(new Error('away')) });
    await get('/api/v1/metrics');
    const { status, text } = await get('/api/v1/metrics');
    expect(status).toBe(200);
    expect(text).toContain('process_resident_memory_bytes');
    expect(text).toMatch(/sendense_metric_collection_failures_total\{metric="sendense_broken"\} [12]/);
    expect(text).not.toMatch(/^sendense_broken(_too)? /m);
  });
});
