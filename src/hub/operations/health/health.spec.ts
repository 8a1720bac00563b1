import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import { API_TOKEN, type HttpApp, startHttpApp } from '../../../../test/support/http-app.js';
import { DomainError } from '../../../kernel/domain-error.js';
import { HealthChecks } from '../../../lib/http/health-checks.js';
import { HubConfig } from '../../hub.config.js';
import { ShowRoleController } from '../standby/show-role/show-role.controller.js';
import { HealthController } from './health.controller.js';

let http: HttpApp;
let checks: HealthChecks;

beforeEach(async () => {
  http = await startHttpApp([HealthController, ShowRoleController], { providers: [{ provide: HubConfig, useValue: { eventStore: 'eventstoredb' } }] });
  checks = http.app.get(HealthChecks);
});

afterEach(async () => {
  await http.close();
});

const ready = () => request(http.app.getHttpServer()).get('/api/v1/health/ready');

describe('health', () => {
  it('is live without any check', async () => {
    checks.register({ name: 'database', required: true, check: () => Promise.reject(new Error('away')) });
    const answer = await request(http.app.getHttpServer()).get('/api/v1/health/live');
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ status: 'live' });
  });

  it('shows only the role to callers without a token, and the rest at /hub', async () => {
    const get = (path: string) => request(http.app.getHttpServer()).get(`/api/v1/${path}`);
    expect((await get('health')).body).toEqual({ role: 'active' });
    expect((await get('hub')).status).toBe(401);
    expect((await get('hub').set('Authorization', `Bearer ${API_TOKEN}`)).body).toMatchObject({ role: 'active', event_store: 'eventstoredb' });
  });

  it('is ready while every required check is up; the others only inform', async () => {
    checks.register({ name: 'database', required: true, check: () => Promise.resolve() });
    checks.register({ name: 'node', required: false, check: () => Promise.reject(new DomainError('upstream_unreachable', 'node_unreachable', 'No answer.')) });
    const answer = await ready();
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      status: 'ready',
      checks: [
        { name: 'database', required: true, status: 'up', code: null, detail: null },
        { name: 'node', required: false, status: 'down', code: 'node_unreachable', detail: 'No answer.' },
      ],
    });
  });

  it('is 503 with the failed check, and reveals only its name', async () => {
    checks.register({ name: 'database', required: true, check: () => Promise.reject(new Error('postgres://user:hunter2@db refused')) });
    const answer = await ready();
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('5');
    expect(answer.body).toMatchObject({ code: 'not_ready', checks: [{ name: 'database', status: 'down', code: 'check_failed' }] });
    expect(answer.text).not.toContain('hunter2');
  });

  it('a check that throws instead of rejecting, or hangs, is down', async () => {
    checks.register({
      name: 'throws',
      required: true,
      check: () => {
        throw new Error('at once');
      },
    });
    checks.register({ name: 'hangs', required: true, check: () => new Promise(() => undefined) });
    const answer = await ready();
    expect(answer.status).toBe(503);
    expect(answer.body.checks.map((check: { code: string }) => check.code)).toEqual(['check_failed', 'check_timed_out']);
  });

  it('callers at the same time share one run', async () => {
    let runs = 0;
    checks.register({
      name: 'counted',
      required: true,
      check: async () => {
        runs += 1;
        await new Promise((resolve) => setImmediate(resolve));
      },
    });
    await Promise.all([checks.run(), checks.run(), checks.run()]);
    expect(runs).toBe(1);
  });

  it('a name can be registered only once', () => {
    checks.register({ name: 'database', required: true, check: () => Promise.resolve() });
    expect(() => {
      checks.register({ name: 'database', required: true, check: () => Promise.resolve() });
    }).toThrow('database');
  });
});
