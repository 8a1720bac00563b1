import { createServer, type Server } from 'node:net';
import { Global, Module } from '@nestjs/common';
import { CqrsModule } from '@nestjs/cqrs';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import request from 'supertest';
import { freePortRange } from '../../../../test/support/free-ports.js';
import { API_TOKEN } from '../../../../test/support/http-app.js';
import { type QueryApp, startQueryApp } from '../../../../test/support/query-app.js';
import { HubConfig } from '../../hub.config.js';
import { HostToolsModule } from '../../operations/host-tools/host-tools.module.js';
import { nbdPortsStream } from './model/nbd-port.events.js';
import { NbdPortsModule } from './nbd-ports.module.js';

jest.setTimeout(30_000);

const HUB = '6b7e4f0a-0000-4000-8000-000000000001';
const COUNT = 6;

describe('the ports of the pool', () => {
  let app: QueryApp;
  let first: number;

  beforeAll(async () => {
    first = await freePortRange(COUNT);
    const config = Object.assign(new HubConfig(), { nbdPortFirst: first, nbdPortCount: COUNT });

    @Global()
    @Module({ providers: [{ provide: HubConfig, useValue: config }], exports: [HubConfig] })
    class ConfigOfTest {}

    @Module({ imports: [ConfigOfTest, CqrsModule.forRoot(), HostToolsModule, NbdPortsModule] })
    class PortsOfTest {}

    app = await startQueryApp({ imports: [PortsOfTest] });
  });
  afterAll(() => app.close());

  const send = (method: 'post' | 'delete', path: string, body?: object) =>
    request(app.app.getHttpServer())[method](`/api/v1/nbd/ports${path}`).set('Authorization', `Bearer ${API_TOKEN}`).send(body);
  async function eventTypes(): Promise<readonly string[]> {
    const types: string[] = [];
    for await (const event of app.store.read(nbdPortsStream(HUB))) types.push(event.type);
    return types;
  }

  it('are allocated all or none, returned again to the same job, and released', async () => {
    const asked = { job_id: 'job-a', export_names: ['x', 'y'] };
    const allocated = await send('post', '/allocate', asked).expect(201);
    expect(allocated.body).toMatchObject({
      job_id: 'job-a',
      ports: [
        { port: first, export_name: 'x' },
        { port: first + 1, export_name: 'y' },
      ],
    });
    expect((await send('post', '/allocate', asked).expect(201)).body).toMatchObject({ ports: [{ port: first }, { port: first + 1 }] });
    const refused = await send('post', '/allocate', { job_id: 'job-b', count: COUNT - 1 }).expect(503);
    expect(refused.body).toMatchObject({ code: 'nbd_ports_exhausted', wanted: COUNT - 1, free: COUNT - 2 });
    expect(refused.headers['retry-after']).toMatch(/^\d+$/);
    expect((await send('delete', `/${first}`).expect(200)).body).toMatchObject({ released: [first] });
    expect((await send('delete', '/job/job-a').expect(200)).body).toMatchObject({ released: [first + 1] });
    expect((await send('delete', '/job/job-a').expect(200)).body).toMatchObject({ released: [] });
    expect((await send('delete', `/${first}`).expect(404)).body).toMatchObject({ code: 'nbd_port_not_allocated' });
  });

  it('are not released while a server listens on them, and not allocated while another program uses them', async () => {
    const [port] = ((await send('post', '/allocate', { job_id: 'job-c', count: 1 }).expect(201)).body as { ports: { port: number }[] }).ports.map(
      (one) => one.port,
    );
    if (port === undefined) throw new Error('no port');
    const server = await listen(port);
    try {
      expect((await send('delete', `/${port}`).expect(409)).body).toMatchObject({ code: 'nbd_port_in_use', job_id: 'job-c' });
      expect((await send('delete', '/job/job-c').expect(409)).body).toMatchObject({ code: 'nbd_port_in_use' });
    } finally {
      await close(server);
    }
    await send('delete', '/job/job-c').expect(200);

    const foreign = await listen(first + 3);
    try {
      const { body } = await send('post', '/allocate', { job_id: 'job-d', count: COUNT - 1 }).expect(201);
      expect((body as { ports: { port: number }[] }).ports.map((one) => one.port)).not.toContain(first + 3);
      expect(await eventTypes()).toContain('NbdPortFoundOccupied');
    } finally {
      await close(foreign);
    }
    expect((await send('post', '/allocate', { job_id: 'job-e', count: 1 }).expect(201)).body).toMatchObject({ ports: [{ port: first + 3 }] });
  });

  it('are requested either by count or by name, with valid values', async () => {
    for (const body of [{}, { job_id: 'j' }, { job_id: 'j', count: 1, export_names: ['x'] }, { job_id: 'j', count: 0 }, { job_id: 'j', count: '1' }]) {
      await send('post', '/allocate', body).expect(400);
    }
    for (const body of [
      { job_id: 'a/b', count: 1 },
      { job_id: 'j', export_names: [] },
      { job_id: 'j', export_names: ['x', 'x'] },
      { job_id: 'j', count: 1, more: 1 },
    ]) {
      await send('post', '/allocate', body).expect(400);
    }
    await send('delete', '/http').expect(400);
  });

  it('are each allocated to one job when many jobs request at once', async () => {
    for (const job of ['job-a', 'job-d', 'job-e']) await send('delete', `/job/${job}`);
    const answers = await Promise.all(Array.from({ length: COUNT + 2 }, (_, index) => send('post', '/allocate', { job_id: `many-${index}`, count: 1 })));
    expect(answers.map((answer) => answer.status).sort()).toEqual([...Array.from({ length: COUNT }, () => 201), 503, 503]);
    const ports = answers.filter((answer) => answer.status === 201).map((answer) => (answer.body as { ports: { port: number }[] }).ports[0]?.port);
    expect(new Set(ports).size).toBe(COUNT);
  });
});

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}

function close(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}
