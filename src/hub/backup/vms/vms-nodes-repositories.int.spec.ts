import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Global, Module } from '@nestjs/common';
import { CommandBus, CqrsModule } from '@nestjs/cqrs';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import request from 'supertest';
import { allProjections, allReadModels } from '../../../../projections/all-projections.js';
import { proofOf } from '../../../../test/support/proven-answers.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { nodeStream } from '../../nodes/nodes/model/node.events.js';
import { NodesModule } from '../../nodes/nodes/nodes.module.js';
import { NODE_WATCH_OPTIONS, WatchNodesService } from '../../nodes/nodes/watch-nodes/watch-nodes.service.js';
import { RegisterLocalNode } from '../../nodes/nodes/model/node.commands.js';
import { HubConfigModule } from '../../hub-config.module.js';
import { HubConfig } from '../../hub.config.js';
import { EventFeed } from '../../store/event-store/event-feed.js';
import { EventStoreModule } from '../../store/event-store/event-store.module.js';
import { EventStore } from '../../store/event-store/event-store.port.js';
import { ACCESS_TOKENS } from '../../../lib/http/access-tokens.js';
import { configureHttp } from '../../../lib/http/configure-http.js';
import { hubHttpModule } from '../../operations/http/hub-http.module.js';
import { PostgresModule } from '../../store/postgres/postgres.module.js';
import { HostToolsModule } from '../../operations/host-tools/host-tools.module.js';
import { ProjectionsModule } from '../../store/postgres/projections.module.js';
import { RepositoriesModule } from '../../repositories/repositories/repositories.module.js';
import { VmsModule } from './vms.module.js';

const HUB_ID = '6b7e4f0a-0000-4000-8000-000000000001';

@Global()
@Module({ providers: [EventFeed, { provide: ACCESS_TOKENS, useValue: { apiToken: 'api', nodeToken: 'node' } }], exports: [EventFeed, ACCESS_TOKENS] })
class Shared {}

let database: TestDatabase;
let app: NestExpressApplication;
let directory: string;
let node: Server;
let nodeUrl: string;
let nodeIsUp = true;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sendense-contexts-'));
  database = await createTestDatabase({ migrated: false });
  node = createServer((incoming, response) => {
    if (!nodeIsUp) {
      response.writeHead(200).end('nonsense');
      return;
    }
    const url = new URL(incoming.url ?? '/', 'http://node');
    const ref = url.searchParams.get('source_ref');
    const vms = ['/images/one', '/images/two', '/images/empty'].map((path) => ({
      name: path.slice(8),
      source: 'image',
      source_ref: path,
      disks: path.endsWith('empty')
        ? []
        : [
            {
              disk_id: 0,
              disk_key: 'disk0.qcow2',
              size_bytes: 1024,
              format: 'qcow2',
              path: `${path}/disk0.qcow2`,
              change_tracking: true,
              change_ids: [],
              broken_change_ids: [],
              problem: null,
            },
          ],
    }));
    const answer =
      url.pathname === '/api/v1/health'
        ? { status: 'ok', node_id: 'node-1', version: '0.1.0', time: new Date(0).toISOString(), active_jobs: 0 }
        : { vms: vms.filter((vm) => ref === null || vm.source_ref === ref) };
    const body = JSON.stringify(answer);
    response.writeHead(200, { 'content-type': 'application/json', ...proofOf(incoming, 'node', 200, body) }).end(body);
  });
  await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve));
  nodeUrl = `http://127.0.0.1:${(node.address() as AddressInfo).port}`; // a TCP server's address is never a pipe's name

  const testing = await Test.createTestingModule({
    imports: [
      HubConfigModule.of(Object.assign(new HubConfig(), { nodeRequestTimeoutMs: 1_000 }), HUB_ID),
      PostgresModule.forRoot({ databaseUrl: database.databaseUrl, readModels: allReadModels }),
      EventStoreModule.forRoot({ hubId: HUB_ID }),
      Shared,
      ProjectionsModule.forRoot(allProjections),
      CqrsModule.forRoot(),
      hubHttpModule(),
      HostToolsModule,
      NodesModule,
      VmsModule,
      RepositoriesModule,
    ],
  })
    .overrideProvider(NODE_WATCH_OPTIONS)
    .useValue({ intervalMs: 3_600_000, failuresToUnreachable: 2 })
    .compile();
  app = testing.createNestApplication<NestExpressApplication>({ logger: false, bodyParser: false, forceCloseConnections: true });
  configureHttp(app);
  await app.listen(0, '127.0.0.1');
}, 60_000);

afterAll(async () => {
  await app.close();
  node.closeAllConnections();
  await new Promise((resolve) => node.close(resolve));
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

const post = (path: string, body: object) => request(app.getHttpServer()).post(`/api/v1/${path}`).set('Authorization', 'Bearer api').send(body);
const del = (path: string) => request(app.getHttpServer()).delete(`/api/v1/${path}`).set('Authorization', 'Bearer api');
const get = (path: string) => request(app.getHttpServer()).get(`/api/v1/${path}`).set('Authorization', 'Bearer api');

async function eventTypes(stream: string): Promise<string[]> {
  const types: string[] = [];
  for await (const event of app.get(EventStore).read(stream)) types.push(event.type);
  return types;
}

describe('VMs and nodes', () => {
  it('a VM needs a node', async () => {
    await post('vms', { name: 'one', source: 'image', source_ref: '/images/one' }).expect(409).expect(hasCode('no_node_registered'));
  });

  it('the local node is registered once, and a second node with its id is refused', async () => {
    const context = () => ({ commandId: randomUUID(), correlationId: randomUUID(), actor: 'system:test' });
    const commands = app.get(CommandBus);
    await commands.execute(new RegisterLocalNode(nodeUrl, context()));
    await commands.execute(new RegisterLocalNode(nodeUrl, context()));
    expect((await eventTypes(nodeStream('node-1'))).filter((type) => type === 'NodeRegistered')).toHaveLength(1);
    await post('nodes', { name: 'x', url: nodeUrl }).expect(409).expect(hasCode('node_already_registered'));
    await post('nodes', { name: 'x', url: 'http://user:secret@127.0.0.1' }).expect(400).expect(hasCode('validation_failed'));
    await post('nodes', { name: 'x', url: 'http://127.0.0.1:1' }).expect(503).expect(hasCode('node_unreachable'));
  });

  it('a VM is registered as the node describes it, with a Unicode name with spaces, once per name and source', async () => {
    const answer = await post('vms', { name: 'Büro 数据 1', source: 'image', source_ref: '/images/one' }).expect(201);
    expect(answer.body).toMatchObject({
      name: 'Büro 数据 1',
      node_id: 'node-1',
      source_ref: '/images/one',
      disks: [{ disk_key: 'disk0.qcow2', size_bytes: 1024 }],
    });
    await get(`vms/${String(answer.body.vm_id)}?after=${String(answer.body.position)}`).expect(200);
    await post('vms', { name: 'Büro 数据 1', source: 'image', source_ref: '/images/two' }).expect(409).expect(hasCode('vm_name_taken'));
    await post('vms', { name: 'again', source: 'image', source_ref: '/images/one' }).expect(409).expect(hasCode('vm_already_registered'));
    await post('vms', { name: 'none', source: 'image', source_ref: '/images/none' }).expect(404).expect(hasCode('vm_not_found_at_node'));
    await post('vms', { name: 'empty', source: 'image', source_ref: '/images/empty' }).expect(400).expect(hasCode('vm_without_disks'));
    await post('vms', { name: '../x', source: 'image', source_ref: '/images/two' }).expect(400).expect(hasCode('vm_name_invalid'));
    await post('vms', { name: 'x'.repeat(300), source: 'image', source_ref: '/images/two' }).expect(400);
    await post('vms', { name: 'x', source: 'image', source_ref: 'relative' }).expect(400).expect(hasCode('validation_failed'));
    await post('vms', { name: 'x', source: 'image', source_ref: '/images/two', colour: 'red' }).expect(400);

    const found = await post('nodes/node-1/discover', {}).expect(200);
    expect(found.body.vms.map((vm: { registered_vm_id: string | null }) => vm.registered_vm_id)).toEqual([answer.body.vm_id, null, null]);
    await del('nodes/node-1').expect(409).expect(hasCode('node_in_use'));
    await del(`vms/${String(answer.body.vm_id)}`).expect(204);
    await del(`vms/${String(answer.body.vm_id)}`)
      .expect(404)
      .expect(hasCode('vm_not_found'));
  });

  it('of ten concurrent registrations with the same name, one succeeds', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => post('vms', { name: 'twin', source: 'image', source_ref: '/images/two' })));
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, ...Array<number>(9).fill(409)]);
    const winner = answers.find((answer) => answer.status === 201);
    await del(`vms/${String(winner?.body.vm_id)}`).expect(204);
  });

  it('a change in the health of a node is recorded, a failure only after the second in a row', async () => {
    const watch = app.get(WatchNodesService);
    const settle = async (): Promise<void> => {
      await get('nodes')
        .query({ after: (await app.get(EventStore).head()) ?? '' })
        .expect(200);
    };
    const history = async (): Promise<string[]> => (await eventTypes(nodeStream('node-1'))).filter((type) => type.startsWith('NodeBecame'));
    for (let look = 0; look < 3; look++) await watch.look().then(settle);
    expect(await history()).toEqual(['NodeBecameReachable']);
    nodeIsUp = false;
    await watch.look().then(settle);
    for (let look = 0; look < 3; look++) await watch.look().then(settle);
    expect(await history()).toEqual(['NodeBecameReachable', 'NodeBecameUnreachable']);
    nodeIsUp = true;
    await watch.look().then(settle);
    expect(await history()).toEqual(['NodeBecameReachable', 'NodeBecameUnreachable', 'NodeBecameReachable']);
  });

  it('a node without VMs is removed and can be registered again', async () => {
    await del('nodes/node-1').expect(204);
    await post('nodes', { name: 'rack 1', url: nodeUrl }).expect(201);
  });
});

describe('repositories', () => {
  it('are created, measured and deleted, and their folder is kept', async () => {
    const path = join(directory, 'repository');
    await mkdir(path);
    const tried = await post('repositories/test', { type: 'local', path }).expect(200);
    expect(tried.body).toMatchObject({ ok: true });
    expect(await readdir(path)).toEqual([]);
    const made = await post('repositories', { name: 'main', type: 'local', path: `${path}/` }).expect(201);
    expect(JSON.parse(await readFile(join(path, '.sendense-repository.json'), 'utf8'))).toMatchObject({ repository_id: made.body.repository_id });
    await get(`repositories/${String(made.body.repository_id)}?after=${String(made.body.position)}`).expect(200);
    const measured = await get(`repositories/${String(made.body.repository_id)}/storage`).expect(200);
    expect(measured.body).toMatchObject({ used_by_backups_bytes: 0, restore_points: 0 });

    await post('repositories', { name: 'main', type: 'local', path: directory }).expect(409).expect(hasCode('repository_name_taken'));
    await post('repositories', { name: 'other', type: 'local', path: directory }).expect(409).expect(hasCode('repository_overlaps'));
    await post('repositories', { name: 'other', type: 'local', path: join(directory, 'nowhere') })
      .expect(400)
      .expect(hasCode('repository_path_missing'));
    expect((await post('repositories/test', { type: 'local', path }).expect(200)).body).toMatchObject({ ok: false });

    const deleted = await del(`repositories/${String(made.body.repository_id)}`).expect(204);
    expect(await readdir(path)).toEqual([]);
    const after = String(deleted.headers['etag']).replaceAll('"', '');
    await get(`repositories/${String(made.body.repository_id)}/storage?after=${after}`).expect(404);
  });

  it('repeat the response to a repeated Idempotency-Key', async () => {
    const path = join(directory, 'repeated');
    await mkdir(path);
    const make = () => post('repositories', { name: 'repeated', type: 'local', path }).set('Idempotency-Key', 'key-1');
    const first = await make().expect(201);
    const second = await make().expect(201);
    expect(second.body).toEqual(first.body);
  });

  it('a folder used by another repository is refused, and one deleted on this hub while it was unavailable can be used again', async () => {
    const path = join(directory, 'used');
    await mkdir(path);
    const made = await post('repositories', { name: 'used', type: 'local', path }).expect(201);
    const marker = await readFile(join(path, '.sendense-repository.json'), 'utf8');
    await rm(path, { recursive: true });
    await get(`repositories/${String(made.body.repository_id)}/storage?after=${String(made.body.position)}`)
      .expect(503)
      .expect(hasCode('repository_unavailable'));
    await del(`repositories/${String(made.body.repository_id)}`).expect(204);
    await mkdir(path);
    await writeFile(join(path, '.sendense-repository.json'), marker.replace(String(made.body.repository_id), 'someone-else'));
    await post('repositories', { name: 'used', type: 'local', path }).expect(409).expect(hasCode('repository_already_used'));
    await writeFile(join(path, '.sendense-repository.json'), marker);
    await post('repositories', { name: 'used', type: 'local', path }).expect(201);
  });
});

function hasCode(code: string): (response: request.Response) => void {
  return (response) => expect(response.body).toMatchObject({ code });
}
