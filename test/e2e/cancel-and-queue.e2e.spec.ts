import { createServer, type Server } from 'node:net';
import { mkdir, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import { BackupClient, filesBelow } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { inLongProof, IS_LONG } from '../support/long-proof.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTrueMetrics } from '../support/metrics-truth.js';
import { requireTools } from '../support/require-tools.js';
import { type Gate, ToolGates } from '../support/tool-gates.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
/** Of the pool, so that three backups of two disks spend it. */
const PORTS = 6;
const LIMIT = 12;

let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let repository: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    portCount: PORTS,
    env: { SENDENSE_MAX_CONCURRENT_BACKUPS: String(LIMIT) },
  });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

afterEach(async () => {
  await gates.openAll();
  await client.requireNothingHeld();
});

async function newVm(name: string, disks = 2): Promise<ImageVm> {
  const vm = await ImageVm.create(
    join(system.imageRoot, name),
    Array.from({ length: disks }, (_, index) => ({ file: `disk${index}.qcow2`, mib: 8, dataMib: 1 })),
  );
  await client.registerVm(name, vm.folder);
  return vm;
}

describe('a cancelled backup', () => {
  let vm: ImageVm;
  let bitmaps: string[];
  let files: Record<string, string>;

  beforeAll(async () => {
    vm = await newVm('victim');
    await client.backUp('victim', repository, 'full');
  });

  /** After each: nothing is left of the run, and an incremental still finds everything it needs. */
  async function requireAsBefore(): Promise<void> {
    expect(await filesBelow(system.repositoryPath)).toEqual(files);
    expect(await vm.bitmaps('disk0.qcow2')).toEqual(bitmaps);
    await client.requireNothingHeld();
    await vm.write('disk1.qcow2', 65536, 65536);
    const copies = await vm.copyTo(join(system.directory, 'copies'));
    const next = await client.backUp('victim', repository, 'incremental');
    for (const disk of next.disk_results) await requireSameContent(copies.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
    expect(next.disk_results.map(({ bytes_transferred }) => bytes_transferred)).toEqual([65536, 65536]);
  }

  async function remember(): Promise<void> {
    await vm.write('disk0.qcow2', 0, 65536);
    files = await filesBelow(system.repositoryPath);
    bitmaps = await vm.bitmaps('disk0.qcow2');
  }

  async function cancel(backupId: string): Promise<void> {
    const { status, body } = await system.api('POST', `/backups/${backupId}/cancel`);
    expect({ status, body }).toMatchObject({ status: 202, body: { backup_id: backupId, status: 'cancelled', error: null } });
    expect((await system.api('POST', `/backups/${backupId}/cancel`)).body).toMatchObject({ status: 'cancelled' });
  }

  it('leaves the queue when it waits there, and the one it waited for goes on', async () => {
    const gate = await gates.holdCopies();
    const running = await client.started('victim', repository, 'incremental');
    const waiting = await client.started('victim', repository, 'incremental');
    expect(waiting).toMatchObject({ status: 'pending', waiting_for: 'vm_busy', current_phase: 'queued' });
    await cancel(waiting.backup_id);
    await gate.open();
    expect(await client.atRest(running.backup_id)).toMatchObject({ status: 'completed' });
    expect(await client.atRest(waiting.backup_id)).toMatchObject({ status: 'cancelled', disk_results: [] });
    await remember();
    await requireAsBefore();
  });

  it('ends while it is being planned', async () => {
    const copying = await gates.holdCopies();
    await newVm('blocker', 3);
    const blocker = await client.started('blocker', repository, 'full');
    // Too few ports are left, so the second one waits with its plan unmade.
    await newVm('greedy', 4);
    const waiting = await client.started('greedy', repository, 'full');
    expect(waiting).toMatchObject({ status: 'pending', waiting_for: 'nbd_ports' });
    await copying.reached();
    // The ports are given back while the first one is sealed. By then its node has nothing more to do, and can be held while the second one is planned, or has just been.
    const sealing = await gates.hold('qemu-img', 'check');
    await copying.open();
    await sealing.reached();
    await until('the node to have let go of the disks', async () => {
      const { body } = await system.api<{ events: { type: string }[] }>('GET', `/backups/${blocker.backup_id}/events`);
      return body.events.some(({ type }) => type === 'SnapshotReleased');
    });
    await withNodeHeld(async (reached) => {
      await sealing.open();
      await until('the ports to be free', async () => {
        const { body } = await system.api<{ status: string }>('GET', `/backups/${blocker.backup_id}`);
        return body.status === 'completed';
      });
      await reached();
      await cancel(waiting.backup_id);
    });
    expect(await client.atRest(waiting.backup_id)).toMatchObject({ status: 'cancelled' });
    await client.atRest(blocker.backup_id);
    await remember();
    await requireAsBefore();
  });

  it.each([
    ...(IS_LONG
      ? ([
          ['its exports are being started', 'qemu-nbd', '--persistent', 'preparing'],
          ['the snapshot is being taken', 'qemu-img', 'bitmap --add', 'snapshot'],
        ] as const)
      : []),
    ['its disks are being copied', 'nbdcopy', '', 'transfer'],
    ['its files are being sealed', 'qemu-img', 'check', 'sealing'],
  ] as const)('is undone while %s', async (_when, tool, text, phase) => {
    await remember();
    const gate: Gate = await gates.hold(tool, text);
    // The answer comes when the exports are ready, which is after the gate in the first case.
    const answer = client.start('victim', repository, 'incremental');
    await gate.reached();
    const { backup_id } = await client.newest('victim');
    await until(`phase ${phase}`, async () => (await client.get(backup_id)).current_phase === phase).catch(async () => {
      expect((await client.get(backup_id)).current_phase).toBe(phase);
    });
    await cancel(backup_id);
    await gate.open();
    await answer;
    const backup = await client.atRest(backup_id);
    expect(backup).toMatchObject({ status: 'cancelled', current_phase: 'cancelled' });
    expect(await readdir(system.repositoryPath)).not.toContain('.partial');
    await requireAsBefore();
  });

  it('cannot be cancelled once it has ended, and one that is not there not at all', async () => {
    const { backup_id } = await client.backUp('victim', repository, 'incremental');
    expect(await client.problem('POST', `/backups/${backup_id}/cancel`)).toMatchObject({ status: 409, code: 'backup_already_ended' });
    expect(await client.problem('POST', '/backups/0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11/cancel')).toMatchObject({ status: 404, code: 'backup_not_found' });
    expect(await client.problem('POST', '/backups/..%2Fhealth/cancel')).toMatchObject({ status: 400 });
  });
});

describe('more backups than ports', () => {
  inLongProof(() => {
    it('queue in their order, and all run when ports come back', async () => {
      const names = Array.from({ length: 13 }, (_, index) => `queued ${String(index).padStart(2, '0')}`);
      for (const name of names) await newVm(name);
      const gate = await gates.holdCopies();
      const answers = [];
      for (const name of names) answers.push(await client.started(name, repository, 'full'));
      expect(answers.map(({ status }) => status)).toEqual([...Array<string>(3).fill('running'), ...Array<string>(10).fill('pending')]);
      expect(new Set(answers.slice(3).map(({ waiting_for }) => waiting_for))).toEqual(new Set(['nbd_ports']));
      expect((await system.api('GET', '/nbd/ports/metrics')).body).toMatchObject({
        total: PORTS,
        free: 0,
        allocated: PORTS,
        jobs: 3,
        utilization_percent: 100,
      });
      await requireTrueMetrics(system);
      const refusal = await system.api('POST', '/nbd/ports/allocate', { job_id: 'by-hand', count: 1 });
      expect({ status: refusal.status, retry: Number(refusal.headers.get('retry-after')), body: refusal.body }).toMatchObject({
        status: 503,
        retry: 10,
        body: { code: 'nbd_ports_exhausted', wanted: 1, free: 0 },
      });
      const first = answers[0]?.disk_results[0]?.nbd_port ?? 0;
      expect(await client.problem('DELETE', `/nbd/ports/${first}`)).toMatchObject({ status: 409, code: 'nbd_port_in_use' });
      expect(await client.problem('DELETE', `/nbd/ports/job/${answers[0]?.backup_id ?? ''}`)).toMatchObject({ status: 409, code: 'nbd_port_in_use' });

      await gate.open();
      const ended = [];
      for (const { backup_id } of answers) ended.push(await client.atRest(backup_id));
      expect(ended.map(({ status }) => status)).toEqual(Array<string>(13).fill('completed'));
      const planned = ended.map(({ started_at }) => started_at ?? '');
      expect(planned).toEqual([...planned].sort());
      expect((await system.api('GET', '/nbd/ports/metrics')).body).toMatchObject({ free: PORTS, allocated: 0, jobs: 0 });
      await requireTrueMetrics(system);
    });
  });
});

describe('a VM with more disks than the pool has ports', () => {
  it('is refused at once with the numbers, and holds nobody up', async () => {
    await newVm('too large', PORTS + 1);
    await newVm('small', 1);
    const before = (await system.api<{ backups: unknown[] }>('GET', '/backups?vm_name=too%20large')).body.backups;
    const refusal = await system.api('POST', '/backups', { vm_name: 'too large', repository_id: repository, backup_type: 'full' });
    expect(refusal).toMatchObject({ status: 409, body: { code: 'nbd_ports_demand_too_large', wanted: PORTS + 1, pool: PORTS } });
    expect(refusal.headers.get('retry-after')).toBeNull();
    expect((await system.api<{ backups: unknown[] }>('GET', '/backups?vm_name=too%20large')).body.backups).toEqual(before);
    expect(await client.backUp('small', repository, 'full')).toMatchObject({ status: 'completed' });
    const byHand = await system.api('POST', '/nbd/ports/allocate', { job_id: 'by-hand', count: PORTS + 1 });
    expect(byHand).toMatchObject({ status: 409, body: { code: 'nbd_ports_demand_too_large', wanted: PORTS + 1, pool: PORTS } });
  });
});

describe('ports that other programs hold', () => {
  let strangers: Server[];

  afterEach(async () => {
    await Promise.all(strangers.map((server) => new Promise((done) => server.close(done))));
  });

  it('are passed over and reported; with every port taken a backup waits, and runs when one has become free', async () => {
    strangers = [];
    const { first_port: first } = (await system.api<{ first_port: number }>('GET', '/nbd/ports/metrics')).body;
    const vm = await newVm('passed over', 2);
    for (let port = first; port < first + PORTS - 2; port++) strangers.push(await listening(port));
    const squeezed = await client.backUp('passed over', repository, 'full');
    // In whichever order: the search goes on from the port that was given out last.
    expect(new Set(squeezed.disk_results.map(({ nbd_port }) => nbd_port))).toEqual(new Set([first + PORTS - 2, first + PORTS - 1]));

    strangers.push(await listening(first + PORTS - 1));
    await vm.write('disk0.qcow2', 0, 65536);
    const waiting = await client.started('passed over', repository, 'incremental');
    expect(waiting).toMatchObject({ status: 'pending', waiting_for: 'nbd_ports' });
    // Only now has the hub had to look at every port; before, it may have begun with those that are free.
    const taken = [...Array.from({ length: PORTS - 2 }, (_, index) => first + index), first + PORTS - 1];
    await until('the taken ports to be reported', async () => {
      const found = (await client.ports('occupied')).map(({ port }) => port).sort((one, other) => one - other);
      return JSON.stringify(found) === JSON.stringify(taken);
    });
    const last = strangers.pop();
    await new Promise((done) => last?.close(done));
    expect(await client.atRest(waiting.backup_id)).toMatchObject({ status: 'completed', backup_type: 'incremental' });
  });

  inLongProof(() => {
    it('hold up the backup that needs them, and nobody behind it who does with less', async () => {
      strangers = [];
      const { first_port: first } = (await system.api<{ first_port: number }>('GET', '/nbd/ports/metrics')).body;
      await newVm('needs many', 3);
      await newVm('needs one', 1);
      for (let port = first; port < first + PORTS - 2; port++) strangers.push(await listening(port));
      const waiting = await client.started('needs many', repository, 'full');
      expect(waiting).toMatchObject({ status: 'pending', waiting_for: 'nbd_ports' });
      expect(await client.backUp('needs one', repository, 'full')).toMatchObject({ status: 'completed' });
      expect((await client.get(waiting.backup_id)).status).toBe('pending');
      await Promise.all(strangers.splice(0).map((server) => new Promise((done) => server.close(done))));
      expect(await client.atRest(waiting.backup_id)).toMatchObject({ status: 'completed' });
    });
  });

  async function listening(port: number): Promise<Server> {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((done, failed) => {
      server.once('error', failed);
      server.listen(port, '127.0.0.1', done);
    });
    return server;
  }
});

describe('ports taken by hand', () => {
  it('are given all or none, the same for the same job, and are given back one by one or by job', async () => {
    const { status, body } = await system.api<{ ports: { port: number }[] }>('POST', '/nbd/ports/allocate', { job_id: 'by-hand', export_names: ['a', 'b'] });
    expect({ status, body }).toMatchObject({ status: 201, body: { job_id: 'by-hand', ports: [{ export_name: 'a' }, { export_name: 'b' }] } });
    expect((await system.api<{ ports: unknown }>('POST', '/nbd/ports/allocate', { job_id: 'by-hand', export_names: ['a', 'b'] })).body.ports).toEqual(
      body.ports,
    );
    const port = body.ports[0]?.port ?? 0;
    expect(await system.api('DELETE', `/nbd/ports/${port}`)).toMatchObject({ status: 200 });
    expect(await client.problem('DELETE', `/nbd/ports/${port}`)).toMatchObject({ status: 404, code: 'nbd_port_not_allocated' });
    expect(await system.api('DELETE', '/nbd/ports/job/by-hand')).toMatchObject({ status: 200 });
    for (const broken of [
      { job_id: 'x' },
      { job_id: 'x', count: 1, export_names: ['a'] },
      { job_id: '../x', count: 1 },
      { job_id: 'x', count: 0 },
      { job_id: 'x', export_names: ['a', 'a'] },
    ]) {
      expect(await client.problem('POST', '/nbd/ports/allocate', broken)).toMatchObject({ status: 400 });
    }
  });
});

interface SeenVerification {
  readonly verification_id: string;
  readonly status: string;
  readonly error: { readonly code: string } | null;
}

describe('what is removed while its use begins', () => {
  async function remove(path: string): Promise<number> {
    return (await system.api('DELETE', path)).status;
  }

  it.each(['VM', 'repository'])('is found to be gone when it is the %s of a backup, of which nothing is recorded', async (which) => {
    const folder = join(system.directory, `repository-of-${which}`);
    await mkdir(folder);
    const name = `without-${which}`;
    const vm = await ImageVm.create(join(system.imageRoot, name), [{ file: 'disk0.qcow2', mib: 8, dataMib: 1 }]);
    const vmId = await client.registerVm(name, vm.folder);
    const repositoryId = await client.createRepository(name, folder);
    const asked = await withNodeHeld(async (reached) => {
      const answer = client.start(name, repositoryId, 'full');
      await reached();
      expect(await remove(which === 'VM' ? `/vms/${vmId}` : `/repositories/${repositoryId}`)).toBe(204);
      // Not awaited here: it comes when the node goes on.
      return { answer };
    });
    expect(await asked.answer).toMatchObject({ status: 404, body: { code: which === 'VM' ? 'vm_not_found' : 'repository_not_found' } });
    expect((await system.api<{ backups: unknown[] }>('GET', `/backups?vm_id=${vmId}`)).body.backups).toEqual([]);
    expect(await remove(which === 'VM' ? `/repositories/${repositoryId}` : `/vms/${vmId}`)).toBe(204);
  });

  it('stays while a restore stands on it, and a verification whose restore point has gone says so', async () => {
    const folder = join(system.directory, 'repository-in-use');
    await mkdir(folder);
    const vm = await ImageVm.create(join(system.imageRoot, 'in-use'), [{ file: 'disk0.qcow2', mib: 8, dataMib: 1 }]);
    await client.registerVm('in-use', vm.folder);
    const repositoryId = await client.createRepository('in-use', folder);
    const { backup_id, disk_results } = await client.backUp('in-use', repositoryId, 'full');
    const file = disk_results[0]?.qcow2_path ?? '';
    const target = join(system.directory, 'restored-in-use');
    await mkdir(target);

    const measuring = await gates.hold('qemu-img', 'measure');
    const copying = await gates.hold('qemu-img', 'convert');
    const asked = system.api<{ job_id: string }>('POST', '/restore/disks', { backup_id, target_path: target, format: 'raw' });
    await measuring.reached();
    const deletion = client.problem('DELETE', `/backups/${backup_id}`);
    expect(await client.problem('DELETE', `/repositories/${repositoryId}`)).toMatchObject({ status: 409, code: 'repository_has_backups' });
    await measuring.open();
    const { status, body } = await asked;
    expect(status).toBe(202);
    expect(await deletion).toMatchObject({ status: 409 });
    await copying.open();
    await until('the restore', async () => (await system.api<{ status: string }>('GET', `/restore/jobs/${body.job_id}`)).body.status === 'completed');

    const checking = await gates.hold('qemu-img', file);
    const verification = await system.api<{ verification_id: string }>('POST', `/backups/${backup_id}/verify`, {});
    expect(verification.status).toBe(202);
    await checking.reached();
    expect(await remove(`/backups/${backup_id}`)).toBe(204);
    expect(await remove(`/repositories/${repositoryId}`)).toBe(204);
    await checking.open();
    const ended = await until('the verification to end', async () => {
      const { verifications } = (await system.api<{ verifications: SeenVerification[] }>('GET', `/backups/${backup_id}/verifications`)).body;
      return verifications.find(({ verification_id, status: now }) => verification_id === verification.body.verification_id && now !== 'running');
    });
    expect(ended).toMatchObject({ error: { code: 'restore_point_deleted' } });
  });
});

/** Keeps the node from answering meanwhile. `reached` waits until a request has come to it. */
async function withNodeHeld<Result>(act: (reached: () => Promise<boolean>) => Promise<Result>): Promise<Result> {
  const pid = await system.nodePid();
  process.kill(pid, 'SIGSTOP');
  try {
    return await act(() => until('a request to come to the node', () => requestWaits(pid)));
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

/** Whether one of the process's TCP connections has received what was not read yet (proc(5), /proc/net/tcp: queues are in the fifth column, as transmit:receive). */
async function requestWaits(pid: number): Promise<boolean> {
  const descriptors = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  const inodes = new Set(descriptors.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n').slice(1);
  return lines.some((line) => {
    const columns = line.trim().split(/\s+/);
    // A connection that the stopped process has not accepted belongs to no descriptor, but counts at the listening socket (state 0A).
    return inodes.has(columns[9] ?? '') && Number.parseInt(columns[4]?.split(':')[1] ?? '0', 16) > 0;
  });
}
