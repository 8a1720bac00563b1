import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import { DataSource } from 'typeorm';
import { allProjections } from '../../projections/all-projections.js';
import { AuditModule } from '../../src/hub/history/audit/audit.module.js';
import { BackupQueriesModule } from '../../src/hub/backup/backups/backup-queries.module.js';
import { ListPortsController } from '../../src/hub/exports/nbd-ports/list-ports/list-ports.controller.js';
import { GetNodeController } from '../../src/hub/nodes/nodes/get-node/get-node.controller.js';
import { ListNodesController } from '../../src/hub/nodes/nodes/list-nodes/list-nodes.controller.js';
import { HubConfig } from '../../src/hub/hub.config.js';
import { openApiDocument } from '../../src/hub/operations/http/open-api.js';
import { ProjectionTables } from '../../src/hub/store/postgres/projection-tables.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { Projections } from '../../src/hub/store/postgres/projections.js';
import { ProjectionsAdminModule } from '../../src/hub/operations/projections-admin/projections-admin.module.js';
import { LockSummaries } from '../../src/hub/repositories/repositories/model/lock-summaries.registry.js';
import { CapacityReader } from '../../src/hub/repositories/repositories/model/capacity.reader.js';
import { GetRepositoryController } from '../../src/hub/repositories/repositories/get-repository/get-repository.controller.js';
import { ListRepositoriesController } from '../../src/hub/repositories/repositories/list-repositories/list-repositories.controller.js';
import { GetVmController } from '../../src/hub/backup/vms/get-vm/get-vm.controller.js';
import { ListVmsController } from '../../src/hub/backup/vms/list-vms/list-vms.controller.js';
import { goldenHistory } from '../support/golden-streams.js';
import { API_TOKEN, OPEN_API } from '../support/http-app.js';
import { missingInOpenApi } from '../support/openapi-complete.js';
import { appendGoldenHistory, type QueryApp, startQueryApp } from '../support/query-app.js';

const FULL = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11';
const FAILED = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a12';
const NEWEST = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a14';
const CANCELLED = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a13';
const EXPIRING = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a61';
const WITH_DEFINITION = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7b50';
const LIVE = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a41';
const IMPORTED = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a77';
const VM = '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b';

describe('queries over the golden streams', () => {
  let running: QueryApp;
  let head: string;

  beforeAll(async () => {
    running = await startQueryApp({
      imports: [BackupQueriesModule, AuditModule, ProjectionsAdminModule],
      controllers: [
        ListVmsController,
        GetVmController,
        ListRepositoriesController,
        GetRepositoryController,
        ListNodesController,
        GetNodeController,
        ListPortsController,
      ],
      providers: [CapacityReader, LockSummaries, { provide: HubConfig, useValue: new HubConfig() }],
    });
    head = await appendGoldenHistory(running.store);
  }, 60_000);

  afterAll(async () => {
    await running.close();
  });

  /** A reader that waits for everything appended before. */
  async function get(path: string, status = 200): Promise<request.Response> {
    const answer = await request(running.app.getHttpServer())
      .get(`/api/v1/${path}${path.includes('?') ? '&' : '?'}after=${head}`)
      .set('Authorization', `Bearer ${API_TOKEN}`);
    expect([answer.status, answer.status === status ? null : answer.body]).toEqual([status, null]);
    return answer;
  }

  /** The position of the last event that was decided before a time. */
  async function positionAt(time: string): Promise<string> {
    return (await get(`audit/events?until=${time}&limit=1`)).body.events[0].position;
  }

  it('documents every route completely', () => {
    expect(missingInOpenApi(openApiDocument(running.app, OPEN_API))).toEqual([]);
  });

  it.each(allProjections.map((projection) => [projection.name, projection] as const))(
    'has the rows of a fold from zero in %s, live and rebuilt',
    async (name, projection) => {
      await get('projections');
      const projections = running.app.get(Projections, { strict: false });
      const tables = new ProjectionTables(running.app.get(DataSource, { strict: false }));
      const live = await projections.checksum(name);
      // Those two have the time at which the store recorded each event.
      if (name !== 'audit_events' && name !== 'ledger_tiles') {
        const events = goldenHistory().filter(({ stream }) => projection.categories?.some((category) => stream.startsWith(`${category}-`)) ?? true);
        expect(live).toBe(await tables.checksumOf(projection, foldFromZero(projection, events)));
      }
      await (
        await projections.rebuild(name)
      ).done;
      expect(await projections.checksum(name)).toBe(live);
    },
  );

  it('lists backups, the newest first, in pages, by every filter', async () => {
    const first = await get('backups?limit=4');
    expect(first.body.backups.map((backup: { backup_id: string }) => backup.backup_id)).toEqual([NEWEST, EXPIRING, LIVE, CANCELLED]);
    const second = await get(`backups?limit=4&cursor=${first.body.next_cursor}`);
    expect(second.body.backups.map((backup: { backup_id: string }) => backup.backup_id)).toEqual([FAILED, WITH_DEFINITION, FULL, IMPORTED]);
    expect(second.body.next_cursor).toBeNull();
    for (const [filter, count] of [
      ['vm_name=pgtest1', 6],
      ['vm_name=nobody', 0],
      [`vm_id=${VM}`, 6],
      ['status=failed', 2],
      ['backup_type=incremental', 1],
      ['since=2026-11-21T10:32:00Z', 5],
      ['until=2026-11-21T10:32:00Z', 3],
      ['since=2026-11-21T10:32:00Z&until=2026-11-21T10:32:00.001Z', 1],
      ['repository_id=0199a3c0-2b40-7d10-b1de-64f0a52c9e02', 7],
    ] as const) {
      expect([filter, (await get(`backups?${filter}`)).body.backups.length]).toEqual([filter, count]);
    }
    expect((await get('backups?cursor=bm90aGluZw', 400)).body.code).toBe('cursor_invalid');
    await get('backups?status=odd', 400);
  });

  it('shows a backup as it stands', async () => {
    const { body } = await get(`backups/${FAILED}`);
    expect(body).toMatchObject({
      backup_id: FAILED,
      status: 'failed',
      error: { code: 'copy_failed', stage: 'transfer' },
      parent_backup_id: FULL,
      created_at: '2026-11-21T10:32:00.000Z',
      total_bytes: 1048576,
    });
    expect(body.disk_results).toHaveLength(2);
    expect((await get('backups/0199a3c4-0000-7000-8000-000000000000', 404)).body.code).toBe('backup_not_found');
    await get('backups/nonsense', 400);
  });

  it('shows a backup as it stood', async () => {
    const at = async (time: string) => (await get(`backups/${FULL}?as_of=${await positionAt(time)}`)).body;
    expect(await at('2026-11-21T10:30:10.000Z')).toMatchObject({ status: 'running', current_phase: 'transfer', completed_at: null });
    expect((await at('2026-11-21T10:30:10.000Z')).disk_results[0]).toMatchObject({ qemu_nbd_pid: 48211, nbd_port: 10100, sha256: null });
    expect(await at('2026-11-21T10:31:12.000Z')).toMatchObject({ current_phase: 'stalled' });
    expect(await at('2026-11-21T10:35:00.000Z')).toMatchObject({ status: 'completed', completed_at: '2026-11-21T10:31:24.000Z' });
    expect((await at('2026-11-21T10:35:00.000Z')).disk_results[0].qcow2_path).toBe('/srv/backups/pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2');
    expect((await at('2026-11-21T11:00:00.000Z')).status).toBe('deleted');
    expect((await get(`backups/${FULL}?as_of=${await positionAt('2026-11-21T10:00:00.000Z')}`, 404)).body.code).toBe('backup_not_found');
  });

  it('shows what is damaged at the restore point itself, now and as of then', async () => {
    expect((await get(`backups/${FULL}`)).body).toMatchObject({
      damage: { code: 'file_altered', file: expect.stringContaining('disk-0.qcow2'), caused_by_backup_id: null },
    });
    expect((await get(`backups/${FULL}?as_of=${await positionAt('2026-11-21T10:31:36.500Z')}`)).body).toMatchObject({ status: 'completed', damage: null });
  });

  it("shows a VM's chain and its last change id, or says that there is none", async () => {
    expect((await get('backups/chain?vm_name=pgtest1')).body).toMatchObject({
      full_backup_id: FULL,
      head_backup_id: FULL,
      backup_count: 1,
      total_size_bytes: 3 * 1073741824 + 2 * 393216,
      damaged: [{ backup_id: FULL, code: 'file_altered' }],
    });
    expect((await get('backups/chain?vm_name=nobody', 404)).body.code).toBe('vm_not_found');
    expect((await get('backups/changeid?vm_name=pgtest1&disk_id=0', 404)).body.code).toBe('change_id_not_found');
    await get('backups/changeid?vm_name=pgtest1', 400);
  });

  it('lists VMs, repositories, nodes and ports', async () => {
    expect((await get('vms')).body.vms).toMatchObject([{ vm_id: VM, name: 'pgtest1', total_size_bytes: 3 * 1073741824 }]);
    expect((await get(`vms/${VM}`)).body.disks).toHaveLength(2);
    expect((await get('vms/0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5c', 404)).body.code).toBe('vm_not_found');
    const { repositories } = (await get('repositories')).body;
    expect(repositories).toMatchObject([
      { name: 'disk', path: '/mnt/backups', type: 'local', require_mount: true },
      { name: 'found again', path: '/srv/found' },
      { name: 'main', path: '/srv/backups', type: 'local', require_mount: false },
      { name: 'nas', type: 'cifs', server: 'nas.example.org', share: 'backups', require_mount: true, capabilities: { protocol_version: '3.1.1' } },
    ]);
    const first = (await get('repositories?limit=2')).body;
    const second = (await get(`repositories?limit=2&cursor=${first.next_cursor}`)).body;
    expect([...first.repositories, ...second.repositories]).toEqual(repositories);
    expect(second.next_cursor).toBeNull();
    expect((await get(`repositories/${repositories[0].repository_id}`)).body).toEqual({ ...repositories[0], locks: null });
    const { nodes } = (await get('nodes')).body;
    expect(nodes).toMatchObject([
      { name: 'local', url: 'http://127.0.0.1:9082', state: 'unreachable', error: { code: 'connection_refused' }, enrolment: null },
      { name: 'rack-3', url: 'http://127.0.0.1:9082', state: 'reachable', enrolment: { state: 'enrolled', rotating: false } },
      { name: 'rack-4', state: 'revoked', enrolment: { state: 'revoked' } },
    ]);
    expect((await get(`nodes/${nodes[0].node_id}`)).body).toEqual(nodes[0]);
    expect((await get('nbd/ports/metrics')).body).toMatchObject({ total: 101, free: 99, allocated: 1, occupied: 1, jobs: 1, utilization_percent: 2 });
    expect((await get('nbd/ports?limit=3')).body.ports.map(({ state }: { state: string }) => state)).toEqual(['free', 'allocated', 'occupied']);
    expect((await get('nbd/ports?state=allocated')).body.ports).toMatchObject([{ port: 10101, job_id: FULL, export_name: null }]);
  });

  it('searches the audit log in pages, and exports it', async () => {
    const total = goldenHistory().length;
    const stream = `backup-${FULL}`;
    const page = await get(`audit/events?stream=${stream}&order=oldest_first&limit=2`);
    expect(page.body.events.map(({ type }: { type: string }) => type)).toEqual(['BackupRequested', 'BackupQueued']);
    const next = await get(`audit/events?stream=${stream}&order=oldest_first&limit=1&cursor=${page.body.next_cursor}`);
    expect(next.body.events[0].type).toBe('BackupPlanned');
    const history = goldenHistory();
    const late = history.filter(({ recordedAt }) => recordedAt >= '2026-11-21T10:40:00' && recordedAt < '2026-11-22T00:00:00');
    for (const [filter, expected] of [
      ['type=BackupFailed', history.filter(({ type }) => type === 'BackupFailed')],
      ['category=nbdPorts&actor=api:golden', history.filter(({ stream: name }) => name.startsWith('nbdPorts-'))],
      ['since=2026-11-21T10:40:00Z&until=2026-11-22T00:00:00Z', late],
    ] as const) {
      const found = await get(`audit/events?${filter}&limit=1000`);
      expect(expected).not.toEqual([]);
      expect([filter, found.body.events.length]).toEqual([filter, expected.length]);
    }
    expect((await get(`audit/events?correlation_id=${page.body.events[0].correlation_id}&limit=1000`)).body.events).toHaveLength(20);
    const exported = await request(running.app.getHttpServer())
      .get('/api/v1/audit/events?order=oldest_first')
      .set('Authorization', `Bearer ${API_TOKEN}`)
      .set('Accept', 'application/x-ndjson')
      .buffer(true)
      .parse((response, done) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => done(null, text));
      });
    expect(exported.headers['content-type']).toContain('application/x-ndjson');
    const lines = String(exported.body).trimEnd().split('\n');
    expect(lines).toHaveLength(total);
    const positions = lines.map((line) => String((JSON.parse(line) as { position: unknown }).position));
    expect(positions).toEqual([...positions].sort());
    expect((await get(`audit/streams/${stream}?limit=5`)).body.events[4].revision).toBe(4);
    expect((await get('audit/streams/backup-none', 404)).body.code).toBe('stream_not_found');
  });

  it('shows where projections stand, and rebuilds one on request', async () => {
    const { projections } = (await get('projections')).body;
    expect(projections).toHaveLength(allProjections.length);
    expect(projections[0]).toMatchObject({ name: 'backups', state: 'live', position: head, head_position: head, lag_seconds: 0, halted: null });
    const answer = await request(running.app.getHttpServer()).post('/api/v1/projections/vms/rebuild').set('Authorization', `Bearer ${API_TOKEN}`);
    expect([answer.status, answer.body.state]).toEqual([202, 'rebuilding']);
    const unknown = await request(running.app.getHttpServer()).post('/api/v1/projections/nothing/rebuild').set('Authorization', `Bearer ${API_TOKEN}`);
    expect([unknown.status, unknown.body.code]).toEqual([404, 'projection_not_found']);
  });
});
