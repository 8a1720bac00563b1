import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Global, Module } from '@nestjs/common';
import { CommandBus, CqrsModule } from '@nestjs/cqrs';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import request from 'supertest';
import { DataSource } from 'typeorm';
import { freePortRange } from '../../../../test/support/free-ports.js';
import { API_TOKEN } from '../../../../test/support/http-app.js';
import { type QueryApp, startQueryApp } from '../../../../test/support/query-app.js';
import { requireTools } from '../../../../test/support/require-tools.js';
import { Clock } from '../../../lib/clock/clock.js';
import { HubConfig } from '../../hub.config.js';
import { CommandRunner } from '../../store/event-store/command-runner.js';
import { ReadModels } from '../../store/postgres/read-models.js';
import { HostToolsModule } from '../../operations/host-tools/host-tools.module.js';
import { ShellProcessSupervisor } from '../../../lib/process/shell-process-supervisor.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import type { NbdProcessListDto } from './list-processes/list-processes.dto.js';
import { RequestExport, StopExport } from './model/nbd-export.commands.js';
import { nbdExportStream } from './model/nbd-export.events.js';
import { NbdExportsModule } from './nbd-exports.module.js';
import { ExportRunner } from './run-export/export-runner.service.js';
import { WatchExportsService } from './run-export/watch-exports.service.js';

jest.setTimeout(60_000);

const { describe, it } = requireTools('qemu-img', 'qemu-nbd');

describe('exports in a hub', () => {
  let app: QueryApp;
  let folder: string;
  let first: number;
  let config: HubConfig;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-exports-hub-'));
    first = await freePortRange(3);
    config = Object.assign(new HubConfig(), { runDirectory: join(folder, 'run') });

    @Global()
    @Module({ providers: [{ provide: HubConfig, useValue: config }], exports: [HubConfig] })
    class ConfigOfTest {}

    @Module({ imports: [ConfigOfTest, CqrsModule.forRoot(), HostToolsModule, NbdExportsModule] })
    class ExportsOfTest {}

    app = await startQueryApp({ imports: [ExportsOfTest] });
  });
  afterAll(async () => {
    const supervisor = new ShellProcessSupervisor();
    const runs = await readdir(join(folder, 'run', 'exports'));
    await Promise.all(runs.map((run) => supervisor.stop(join(folder, 'run', 'exports', run), 0)));
    await app.close();
    await rm(folder, { recursive: true, force: true });
  });

  const context = () => ({ commandId: randomUUID(), correlationId: randomUUID(), actor: 'api:test' });
  async function serve(index: number): Promise<{ readonly exportId: string; readonly pid: number; readonly position: string }> {
    const file = join(folder, `disk ${index}.qcow2`);
    await new QemuImg().create({ path: file, sizeBytes: 1024 * 1024 });
    const exportId = randomUUID();
    const command = {
      exportId,
      jobId: `job-${index}`,
      exportName: `disk-${index}`,
      port: first + index,
      file,
      readOnly: false,
      sharedLimit: 10,
      transport: 'tls' as const,
    };
    const outcome = await app.app.get(CommandBus, { strict: false }).execute(new RequestExport(command, context()));
    if (outcome.status !== 'started' || outcome.position === null) throw new Error(JSON.stringify(outcome));
    return { exportId, pid: outcome.pid, position: outcome.position };
  }
  async function processes(after: string): Promise<NbdProcessListDto> {
    const answer = await request(app.app.getHttpServer()).get(`/api/v1/nbd/processes?after=${after}`).set('Authorization', `Bearer ${API_TOKEN}`).expect(200);
    return answer.body as NbdProcessListDto;
  }
  async function types(exportId: string): Promise<readonly string[]> {
    const found: string[] = [];
    for await (const event of app.store.read(nbdExportStream(exportId))) found.push(event.type);
    return found;
  }

  it('are listed with their file and their connections', async () => {
    const served = await serve(0);
    const client = await connected(first);
    try {
      const { processes: listed, total_count } = await processes(served.position);
      expect(total_count).toBe(1);
      expect(listed[0]).toMatchObject({
        export_id: served.exportId,
        job_id: 'job-0',
        pid: served.pid,
        port: first,
        export_name: 'disk-0',
        file: join(folder, 'disk 0.qcow2'),
        connections: 1,
        shared_limit: 10,
        state: 'running',
      });
      expect(listed[0]?.uptime_seconds).toBeGreaterThanOrEqual(0);
    } finally {
      client.destroy();
    }
    const stopped = await app.app.get(CommandBus, { strict: false }).execute(new StopExport(served.exportId, context()));
    expect((await processes(stopped.position ?? '')).total_count).toBe(0);
  });

  it('are reconciled by the next hub: running, ended and orphaned', async () => {
    const [running, ended] = await Promise.all([serve(1), serve(2)]);
    app.app.get(ExportRunner, { strict: false }).onApplicationShutdown();
    process.kill(ended.pid, 'SIGKILL');
    const orphan = join(folder, 'run', 'exports', randomUUID());
    await mkdir(orphan);
    const supervisor = new ShellProcessSupervisor();
    await supervisor.start(orphan, ['sleep', '60']);

    const store = app.store;
    const runner = new ExportRunner(app.app.get(CommandRunner, { strict: false }), store, supervisor, config, new Clock());
    const next = new WatchExportsService(app.app.get(ReadModels, { strict: false }), app.app.get(DataSource, { strict: false }), runner, config);
    next.onApplicationBootstrap();
    await next.adopted();

    while ((await types(ended.exportId)).length < 3) await pause(5);
    expect(await types(ended.exportId)).toEqual(['NbdExportRequested', 'NbdExportStarted', 'NbdExportExited']);
    expect(await types(running.exportId)).toEqual(['NbdExportRequested', 'NbdExportStarted']);
    expect((await supervisor.status(orphan)).state).toBe('absent');
    process.kill(running.pid, 'SIGKILL');
    while ((await types(running.exportId)).length < 3) await pause(5);
    expect((await types(running.exportId)).at(-1)).toBe('NbdExportExited');
    next.onApplicationShutdown();
    runner.onApplicationShutdown();
  });
});

function connected(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('data', () => resolve(socket)));
}
