import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { freePortRange } from '../../../../../test/support/free-ports.js';
import { InMemoryEventStore } from '../../../../../test/support/in-memory-event-store.js';
import { requireTools } from '../../../../../test/support/require-tools.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { exportKeyFile } from '../../nbd-servers/export-access.js';
import { NbdInfo } from '../../../../lib/nbd/nbd-info.js';
import { nbdUri } from '../../../../lib/nbd/nbd-uri.js';
import { isAlive } from '../../../../lib/process/process-identity.js';
import { ShellProcessSupervisor } from '../../../../lib/process/shell-process-supervisor.js';
import { QemuImg } from '../../../../lib/qemu/qemu-img.js';
import type { ExportOutcome, RequestedExport } from '../model/nbd-export.commands.js';
import { nbdExportStream } from '../model/nbd-export.events.js';
import { ExportRunner } from './export-runner.service.js';
import { inLongProof } from '../../../../../test/support/long-proof.js';

jest.setTimeout(60_000);

const HUB = '6b7e4f0a-0000-4000-8000-000000000001';
const MIB = 1024 * 1024;
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'nbdinfo');

describe('exports', () => {
  let folder: string;
  let firstPort: number;
  let store: InMemoryEventStore;
  let hubs: ExportRunner[];
  let image: string;
  const supervisor = new ShellProcessSupervisor();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-exports-'));
    firstPort = await freePortRange(101);
    store = new InMemoryEventStore();
    hubs = [];
    image = join(folder, 'nbd:odd, ü.qcow2');
    await new QemuImg().create({ path: image, sizeBytes: 8 * MIB });
  });
  afterEach(async () => {
    for (const hub of hubs) hub.onApplicationShutdown();
    const runs = await readdir(join(folder, 'run', 'exports')).catch(() => []);
    await Promise.all(runs.map((run) => supervisor.stop(join(folder, 'run', 'exports', run), 0)));
    await rm(folder, { recursive: true, force: true });
  });

  /** A hub just after a start: it has only the store and the disk. */
  function hub(): ExportRunner {
    const config = Object.assign(new HubConfig(), { runDirectory: join(folder, 'run') });
    const runner = new ExportRunner(new CommandRunner(store, new Clock(), HUB), store, new ShellProcessSupervisor(), config, new Clock());
    hubs.push(runner);
    return runner;
  }
  function context(): CommandContext {
    return { commandId: randomUUID(), correlationId: '0193a5c2-8a00-7000-8000-000000000001', actor: 'api:test' };
  }
  function requestOf(overrides: Partial<RequestedExport> = {}): RequestedExport {
    const exportId = randomUUID();
    const base = {
      exportId,
      jobId: 'job',
      exportName: 'backup-vm ü-disk0',
      port: firstPort,
      file: image,
      readOnly: false,
      sharedLimit: 0,
      transport: 'tls' as const,
    };
    return { ...base, ...overrides };
  }
  async function history(exportId: string): Promise<readonly RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    for await (const event of store.read(nbdExportStream(exportId))) events.push(event);
    return events;
  }
  async function types(exportId: string): Promise<readonly string[]> {
    return (await history(exportId)).map((event) => event.type);
  }
  async function untilTypes(exportId: string, ...expected: readonly string[]): Promise<void> {
    while ((await types(exportId)).length < expected.length) await pause(5);
    expect(await types(exportId)).toEqual(expected);
  }
  const runFolders = (): Promise<readonly string[]> => readdir(join(folder, 'run', 'exports'));
  function pidOf(outcome: ExportOutcome): number {
    if (outcome.status !== 'started') throw new Error(`not started: ${JSON.stringify(outcome)}`);
    return outcome.pid;
  }

  it('serves a file once the handshake succeeds, and stops', async () => {
    const runner = hub();
    const request = requestOf();
    const outcome = await runner.request(request, context());
    expect(
      await new NbdInfo().size(
        nbdUri({ host: '127.0.0.1', port: firstPort, keyFile: exportKeyFile(join(folder, 'run'), request.exportId) }, request.exportName),
        60_000,
      ),
    ).toBe(8 * MIB);
    expect(await runner.request(request, context())).toEqual(outcome);
    expect(await runner.stop(request.exportId, context())).toMatchObject({ status: 'stopped', signal: 'SIGTERM' });
    expect(await runner.stop(request.exportId, context())).toMatchObject({ status: 'stopped', signal: 'SIGTERM' });
    expect(await types(request.exportId)).toEqual(['NbdExportRequested', 'NbdExportStarted', 'NbdExportStopped']);
    expect(await runFolders()).toEqual([]);
    expect(() => process.kill(pidOf(outcome), 0)).toThrow('ESRCH');
  });

  it('records a server that ends before the first handshake, with its exit code and standard error', async () => {
    const broken = join(folder, 'broken.qcow2');
    await writeFile(broken, 'this is no image');
    const request = requestOf({ file: broken });
    expect(await hub().request(request, context())).toMatchObject({
      status: 'start_failed',
      code: 'exited_early',
      exit_code: 1,
      stderr: expect.stringContaining('not in qcow2 format') as unknown,
    });
    expect(await types(request.exportId)).toEqual(['NbdExportRequested', 'NbdExportStartFailed']);
    expect(await runFolders()).toEqual([]);
  });

  it('reports a port in use by another program', async () => {
    const other = await listen(firstPort);
    try {
      expect(await hub().request(requestOf(), context())).toMatchObject({ status: 'start_failed', code: 'port_in_use', exit_code: 1 });
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  it('reports that qemu-nbd is missing', async () => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    const path = process.env['PATH'];

    for (const tool of ['sh', 'nice']) await symlink(`/bin/${tool}`, join(bin, tool));
    process.env['PATH'] = bin;
    try {
      expect(await hub().request(requestOf(), context())).toMatchObject({
        status: 'start_failed',
        code: 'tool_missing',
        stderr: expect.stringContaining('qemu-nbd') as unknown,
      });
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('detects immediately that a server was killed', async () => {
    const request = requestOf();
    const pid = pidOf(await hub().request(request, context()));
    const killed = performance.now();
    process.kill(pid, 'SIGKILL');
    await untilTypes(request.exportId, 'NbdExportRequested', 'NbdExportStarted', 'NbdExportExited');
    // The contract is one second, but other tests may keep all cores busy.
    expect(performance.now() - killed).toBeLessThan(5_000);
    const [requested, , exited] = await history(request.exportId);
    expect(exited?.data).toMatchObject({ exit_code: 137 });
    expect(exited?.metadata.$correlationId).toBe(requested?.metadata.$correlationId);
    while ((await runFolders()).length > 0) await pause(5);
  });

  it('records an end that happens while the store is unavailable once it is back', async () => {
    const request = requestOf();
    const pid = pidOf(await hub().request(request, context()));
    const parts = await identityParts(request.exportId);
    store.unavailable = true;
    process.kill(pid, 'SIGKILL');
    while (isAlive({ pid, ...parts })) await pause(5);
    store.unavailable = false;
    await untilTypes(request.exportId, 'NbdExportRequested', 'NbdExportStarted', 'NbdExportExited');
  });

  it('adopts a server of an earlier hub and records its end', async () => {
    const request = requestOf();
    const earlier = hub();
    const pid = pidOf(await earlier.request(request, context()));
    earlier.onApplicationShutdown();
    const later = hub();
    expect(await later.reconcile(request.exportId)).toBe('adopted');
    expect(pidOf(await later.request(request, context()))).toBe(pid);
    process.kill(pid, 'SIGKILL');
    await untilTypes(request.exportId, 'NbdExportRequested', 'NbdExportStarted', 'NbdExportExited');
  });

  it('records what happened while there was no hub', async () => {
    const request = requestOf();
    const earlier = hub();
    const pid = pidOf(await earlier.request(request, context()));
    earlier.onApplicationShutdown();
    process.kill(pid, 'SIGKILL');
    while ((await supervisor.status(join(folder, 'run', 'exports', request.exportId))).state === 'running') await pause(5);
    expect(await hub().reconcile(request.exportId)).toBe('end_recorded');
    expect(await types(request.exportId)).toEqual(['NbdExportRequested', 'NbdExportStarted', 'NbdExportExited']);
    expect(await runFolders()).toEqual([]);
  });

  it('records a stop that the end of a hub interrupted as a stop', async () => {
    const request = requestOf();
    const earlier = hub();
    await earlier.request(request, context());
    earlier.onApplicationShutdown();
    await supervisor.stop(join(folder, 'run', 'exports', request.exportId), 5_000);
    expect(await hub().stop(request.exportId, context())).toMatchObject({ status: 'stopped', signal: 'SIGTERM' });
  });

  it('does not record a server that died on its own as stopped', async () => {
    const request = requestOf();
    const earlier = hub();
    const pid = pidOf(await earlier.request(request, context()));
    earlier.onApplicationShutdown();
    process.kill(pid, 'SIGKILL');
    expect(await hub().stop(request.exportId, context())).toMatchObject({ status: 'exited', exit_code: 137 });
  });

  it('resumes a start that the end of a hub interrupted', async () => {
    const request = requestOf();
    const lastMoment = hub();
    const started = await lastMoment.request(request, context());
    lastMoment.onApplicationShutdown();
    // The server runs, but the store has only the request: the hub was killed before the start was recorded.
    const requested = (await history(request.exportId))[0];
    if (requested === undefined) throw new Error('nothing was recorded');
    store = new InMemoryEventStore();
    await store.append(nbdExportStream(request.exportId), 'no_stream', [
      { id: requested.id, type: requested.type, data: requested.data, metadata: requested.metadata },
    ]);
    const later = hub();
    expect(await later.reconcile(request.exportId)).toBe('start_resumed');
    expect(pidOf(await later.request(request, context()))).toBe(pidOf(started));
    expect(await types(request.exportId)).toEqual(['NbdExportRequested', 'NbdExportStarted']);
  });

  it('removes a server without a stream', async () => {
    const request = requestOf();
    const earlier = hub();
    const pid = pidOf(await earlier.request(request, context()));
    earlier.onApplicationShutdown();
    store = new InMemoryEventStore();
    expect(await hub().reconcile(request.exportId)).toBe('orphan_removed');
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(await runFolders()).toEqual([]);
  });

  it('ends a server whose run directory was removed', async () => {
    const request = requestOf();
    const earlier = hub();
    const pid = pidOf(await earlier.request(request, context()));
    const parts = await identityParts(request.exportId);
    earlier.onApplicationShutdown();
    await rm(join(folder, 'run'), { recursive: true });
    expect(await hub().reconcile(request.exportId)).toBe('end_recorded');
    while (isAlive({ pid, ...parts })) await pause(5);
    expect(await types(request.exportId)).toEqual(['NbdExportRequested', 'NbdExportStarted', 'NbdExportExited']);
  });

  it('stops an export that is starting and leaves nothing behind', async () => {
    const runner = hub();
    const request = requestOf();
    const starting = runner.request(request, context());
    while ((await types(request.exportId)).length === 0) await pause(1);
    expect(await runner.stop(request.exportId, context())).toMatchObject({ status: 'stopped' });
    await starting;
    expect((await types(request.exportId)).at(-1)).toBe('NbdExportStopped');
    expect(await runFolders()).toEqual([]);
  });

  inLongProof(() => {
    it('starts two exports in parallel within 100 ms on an idle machine, and a hundred at once', async () => {
      const runner = hub();
      const images = await Promise.all(
        Array.from({ length: 101 }, async (_, index) => {
          const path = join(folder, `disk-${index}.qcow2`);
          await new QemuImg().create({ path, sizeBytes: 8 * MIB });
          return path;
        }),
      );
      const requests = images.map((file, index) => requestOf({ file, port: firstPort + index, exportName: `disk-${index}` }));
      const timed = async (what: string, some: readonly RequestedExport[]): Promise<void> => {
        const begun = performance.now();
        const outcomes = await Promise.all(some.map((request) => runner.request(request, context())));
        process.stderr.write(`${what}: ${Math.round(performance.now() - begun)} ms\n`);
        expect(outcomes.every((outcome) => outcome.status === 'started')).toBe(true);
      };
      await timed('2 exports', requests.slice(0, 2));
      await timed('99 exports', requests.slice(2));
      const outcomes = await Promise.all(requests.map((request) => runner.stop(request.exportId, context())));
      expect(outcomes.every((outcome) => outcome.status === 'stopped' && outcome.signal === 'SIGTERM')).toBe(true);
      expect(await runFolders()).toEqual([]);
    });
  });

  async function identityParts(exportId: string): Promise<{ start_ticks: string; boot_id: string }> {
    const status = await supervisor.status(join(folder, 'run', 'exports', exportId));
    if (status.state !== 'running' || status.identity === null) throw new Error('not running');
    return { start_ticks: status.identity.start_ticks, boot_id: status.identity.boot_id };
  }
});

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}
