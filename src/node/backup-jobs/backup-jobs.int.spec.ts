import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { proofOf } from '../../../test/support/proven-answers.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { mountSmallFileSystem } from '../../../test/support/small-file-system.js';
import { diskChangeId } from '../sources/image/disk-change-id.js';
import { isSignedWith, parseSignature } from '../../lib/signed-calls/call-signature.js';
import type { NodeJobReport, NodeSettleBackup, NodeStartBackup } from '../../contract/backup-job.js';
import { changeIdOf } from '../../contract/change-id.js';
import type { NodeVmList } from '../../contract/vm-list.js';
import { inLongProof } from '../../../test/support/long-proof.js';

const { describe, it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdinfo', 'nbdkit');

jest.setTimeout(120_000);

const HUB_ID = '6f0d2b0e-6f5e-4c52-9f0a-3f2d1c7a9e10';
const TOKEN = 'a-token-that-only-this-spec-uses';
const MIB = 1024 * 1024;
const ROOT = resolve(import.meta.dirname, '../../..');

interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
}
interface Problem {
  readonly code: string;
  readonly detail: string;
}

/** The built program, so that tests can kill it like a real one; bin/setup builds it. */
const PROGRAM = join(ROOT, 'dist/src/node/main.node.js');
let home: string;
let node: NodeProgram;
let hub: FakeHub;
let targets: Target[];

beforeEach(async () => {
  home = realpathSync(mkdtempSync(join(tmpdir(), 'node-')));
  mkdirSync(join(home, 'images'));
  mkdirSync(join(home, 'targets'));
  writeFileSync(join(home, 'token'), TOKEN, { mode: 0o600 });
  targets = [];
  hub = new FakeHub();
  await hub.listen();
  node = new NodeProgram(home, hub.url);
  await node.start();
});

afterEach(async () => {
  await node.kill('SIGKILL');
  // Kill leftovers of failed tests, found by run directories that only this test uses.
  for (const file of globSync(join(home, 'data/run/backup-jobs/*/**/process'))) {
    const pid = Number(readFileSync(file, 'utf8').split(' ')[0]);
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It had already exited.
    }
  }
  await Promise.all(targets.map((target) => target.stop()));
  await hub.close();
  rmSync(home, { recursive: true, force: true });
});

describe('a backup of a powered-off VM', () => {
  it('copies all disks of the VM, then only the changes, including zeroes written over data', async () => {
    const vm = makeVm('pgtest 1: Müller, GmbH', { 'disk0.qcow2': 64, 'data, 2: ä%.qcow2': 96 });
    const keys = ['data, 2: ä%.qcow2', 'disk0.qcow2'];
    write(vm, 'disk0.qcow2', 'write -P 1 0 8M', 'write -P 2 20M 100k');
    write(vm, 'data, 2: ä%.qcow2', 'write -P 3 50M 5M');

    const full = await backUp(vm, keys, null);
    expect(full.report).toMatchObject({ status: 'completed', snapshot_released: true, current_phase: 'done', progress_percent: 100, error: null });
    expect(full.report.bytes_transferred).toBe(8 * MIB + 128 * 1024 + 5 * MIB);
    expectIdentical(vm, keys, full.files);
    expect(
      await settle(
        vm,
        full,
        'committed',
        keys.map((key) => diskChangeId(full.changeId, key)),
      ),
    ).toMatchObject({ status: 200, body: { settled: true } });

    write(vm, 'disk0.qcow2', 'write -z 1M 2M', 'write -P 7 30M 64k');
    randomWrites(vm, 'data, 2: ä%.qcow2', 96, 40);
    const incremental = await backUp(vm, keys, full.changeId, full.files);
    expect(incremental.report.status).toBe('completed');
    expect(diskOf(incremental.report, 'disk0.qcow2')).toMatchObject({ bytes_transferred: 2 * MIB + 64 * 1024, total_bytes: 2 * MIB + 64 * 1024 });
    expectIdentical(vm, keys, incremental.files);
    await settle(
      vm,
      incremental,
      'committed',
      keys.map((key) => diskChangeId(incremental.changeId, key)),
    );
    expect(bitmaps(vm, 'disk0.qcow2')).toEqual([diskChangeId(incremental.changeId, 'disk0.qcow2')]);

    // Nothing has changed in the meantime.
    const empty = await backUp(vm, keys, incremental.changeId, incremental.files);
    expect(empty.report).toMatchObject({ error: null, status: 'completed', total_bytes: 0, bytes_transferred: 0, progress_percent: 100 });
    expectIdentical(vm, keys, empty.files);
    expectNothingLeft();
  });

  it('reports every change of state to the hub at once', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    write(vm, 'a.qcow2', 'write -P 1 0 1M');
    const full = await backUp(vm, ['a.qcow2'], null);
    await until(() => hub.heard.some((report) => report.status === 'completed'));
    const reports = hub.heard.filter((report) => report.job_id === full.jobId);
    expect(reports.at(-1)).toEqual(full.report);
    expect(reports.map((report) => report.sequence)).toEqual(reports.map((report) => report.sequence).sort((left, right) => left - right));
    expect(hub.nodeIds).toEqual(new Set([(await node.get<{ node_id: string }>('/health')).body.node_id]));
  });

  it('copies raw disks, which have no change ids', async () => {
    const vm = makeVm('vm', { 'a.raw': 32 });
    write(vm, 'a.raw', 'write -P 5 3M 2M');
    const full = await backUp(vm, ['a.raw'], null);
    expect(full.report.status).toBe('completed');
    expect(diskOf(full.report, 'a.raw').change_id).toBeNull();
    expectIdentical(vm, ['a.raw'], full.files);
  });

  it('fails with source_changed if a raw disk is written to during the copy', async () => {
    const vm = makeVm('vm', { 'a.raw': 32 });
    write(vm, 'a.raw', 'write -P 5 0 32M');
    const job = await begin(vm, ['a.raw'], null, { rate: '40M' });
    await until(() => processesOf('main.copy.js').length > 0);
    write(vm, 'a.raw', 'write -P 6 0 4k');
    expect(await job.ended()).toMatchObject({ status: 'failed', error: { code: 'source_changed' }, snapshot_released: true });
    expectNothingLeft();
  });
});

describe('a backup fails because of', () => {
  it.each(['qemu-nbd', 'a program'])('a disk that %s has open for writing', async (who) => {
    const vm = makeVm('vm', { 'a.qcow2': 16, 'b.qcow2': 16 });
    let release: () => Promise<void>;
    if (who === 'qemu-nbd') {
      const writer = new Target(join(vm, 'b.qcow2'), {});
      await writer.start();
      release = () => writer.stop();
    } else {
      const descriptor = openSync(join(vm, 'b.qcow2'), 'r+');
      release = () => {
        closeSync(descriptor);
        return Promise.resolve();
      };
    }
    try {
      const { body } = await node.get<NodeVmList>(`/vms?source_ref=${encodeURIComponent(vm)}`);
      expect(body.vms[0]?.disks.map((disk) => disk.problem?.code ?? null)).toEqual([null, 'disk_in_use']);
      const refused = await backUp(vm, ['a.qcow2', 'b.qcow2'], null, undefined, { free: true });
      expect(refused.report).toMatchObject({ status: 'failed', error: { code: 'disk_in_use' }, snapshot_released: true });
      expect(diskOf(refused.report, 'a.qcow2').error?.code).toBe('stopped_with_job');
      expect(refused.report.error?.detail).toContain('"b.qcow2"');
    } finally {
      await release();
    }
    // A failed run must not affect the next one.
    expect((await backUp(vm, ['a.qcow2', 'b.qcow2'], null)).report).toMatchObject({ error: null, status: 'completed' });
  });

  it('a lost or broken change id, an added disk, a removed disk, or another size', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    const full = await backUp(vm, ['a.qcow2'], null);
    const codeOf = async (keys: readonly string[], parent: string | null, size?: number): Promise<string | undefined> =>
      (await backUp(vm, keys, parent, undefined, { size })).report.error?.code;

    expect(await codeOf(['a.qcow2'], 'sendense-6f0d2b0e-never')).toBe('change_id_lost');
    expect(await codeOf(['a.qcow2'], full.changeId, 8 * MIB)).toBe('disk_resized');
    expect(await codeOf(['a.qcow2', 'b.qcow2'], null)).toBe('disk_removed');

    const writer = new Target(join(vm, 'a.qcow2'), {});
    await writer.start();
    execFileSync('qemu-io', ['-f', 'raw', '-c', 'write -P 1 0 64k', writer.uri]);
    await writer.stop('SIGKILL');
    expect((await node.get<NodeVmList>('/vms')).body.vms[0]?.disks[0]?.broken_change_ids).toContain(diskChangeId(full.changeId, 'a.qcow2'));
    expect(await codeOf(['a.qcow2'], full.changeId)).toBe('change_id_lost');

    image(join(vm, 'b.qcow2'), 16);
    expect(await codeOf(['a.qcow2'], null)).toBe('disk_added');
    expectNothingLeft();
  });

  it('an image that names a file outside the image roots', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    writeFileSync(join(home, 'secret.raw'), Buffer.alloc(MIB, 1));
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', join(home, 'secret.raw'), '-F', 'raw', join(vm, 'b.qcow2')]);
    symlinkSync(join(home, 'secret.raw'), join(vm, 'c.raw'));
    const { body } = await node.get<NodeVmList>(`/vms?source_ref=${encodeURIComponent(vm)}`);
    expect(body.vms[0]?.disks.map((disk) => disk.problem?.code ?? null)).toEqual([null, 'backing_file_refused', 'disk_outside_root']);
  });

  it('an unreachable target: the job names the disk, and stops the other copies', async () => {
    await node.kill('SIGTERM');
    await node.start({ SENDENSE_NETWORK_PATIENCE_SECONDS: '1' });
    const vm = makeVm('vm', { 'a.qcow2': 64, 'b.qcow2': 16 });
    write(vm, 'a.qcow2', 'write -P 1 0 64M');
    write(vm, 'b.qcow2', 'write -P 1 0 1M');
    const job = await begin(vm, ['a.qcow2', 'b.qcow2'], null, { rate: '8M', unreachable: 'b.qcow2' });
    const report = await job.ended();
    expect(report).toMatchObject({ status: 'failed', error: { code: 'transfer_failed' } });
    expect(report.error?.detail).toContain('"b.qcow2"');
    expect(diskOf(report, 'a.qcow2')).toMatchObject({ status: 'failed', error: { code: 'stopped_with_job' } });
    expectNothingLeft();
  });

  inLongProof(() => {
    it('a node without space for its own files: reported at once, or when space runs out during a copy, and nothing is left behind', async () => {
      await node.kill('SIGTERM');
      const small = await mountSmallFileSystem(join(home, 'data'), 3);
      if (small === null) return;
      try {
        await node.start();
        const vm = makeVm('vm', { 'a.qcow2': 48 });
        write(vm, 'a.qcow2', 'write -P 1 0 48M');
        const fill = join(home, 'data/fill');
        const fillUp = (): unknown => spawnSync('dd', ['if=/dev/zero', `of=${fill}`, 'bs=4k'], { stdio: 'ignore' });

        fillUp();
        const body = startBody(vm, ['a.qcow2'], null, ['nbd://127.0.0.1:1/x'], 48 * MIB);
        expect(await node.post('/backup/start', body)).toMatchObject({ status: 507, body: { code: 'node_storage_full' } });
        expectNothingLeft();
        rmSync(fill);

        const job = await begin(vm, ['a.qcow2'], null, { rate: '8M' });
        await until(async () => (await job.report()).status === 'running' && processesOf('main.copy.js').length > 0);
        fillUp();
        for (const pid of processesOf('main.copy.js')) process.kill(pid, 'SIGTERM');
        expect(await job.ended()).toMatchObject({ status: 'failed', error: { code: 'node_storage_full' } });
        expectNothingLeft();
        rmSync(fill);
        expect((await backUp(vm, ['a.qcow2'], null)).report).toMatchObject({ status: 'completed' });
      } finally {
        await node.kill('SIGKILL');
        await small.remove();
      }
    });
  });

  it('a missing tool', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    const bin = join(home, 'bin');
    mkdirSync(bin);
    for (const tool of ['qemu-img', 'nbdinfo', 'sh', 'nice', 'stat']) symlinkSync(which(tool), join(bin, tool));
    await node.kill('SIGTERM');
    await node.start({ PATH: bin });
    const { report } = await backUp(vm, ['a.qcow2'], null);
    expect(report).toMatchObject({ status: 'failed', error: { code: 'tool_missing' } });
    expect(report.error?.detail).toContain('qemu-nbd');
    expectNothingLeft();
  });
});

describe('a job', () => {
  it('starts once, even if the request is sent repeatedly', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 64 });
    write(vm, 'a.qcow2', 'write -P 1 0 64M');
    const job = await begin(vm, ['a.qcow2'], null, { rate: '8M' });
    expect(await node.post<NodeJobReport>('/backup/start', job.body)).toMatchObject({ status: 202, body: { job_id: job.body.job_id } });
    expect(await node.post('/backup/start', { ...job.body, vm: { ...job.body.vm, name: 'other' } })).toMatchObject({
      status: 409,
      body: { code: 'job_exists' },
    });
    expect(await node.post('/backup/start', { ...job.body, job_id: randomUUID() })).toMatchObject({ status: 409, body: { code: 'vm_busy' } });
    expect(await settle(vm, { jobId: randomUUID() }, 'discarded', [])).toMatchObject({ status: 409, body: { code: 'vm_busy' } });
    expect(await settle(vm, { jobId: job.body.job_id }, 'committed', [])).toMatchObject({ status: 409, body: { code: 'job_running' } });
    expect(await settle(vm, { jobId: job.body.job_id }, 'discarded', [])).toMatchObject({ status: 200 });
    expect(bitmaps(vm, 'a.qcow2')).toEqual([]);
    expect(await node.get(`/backup/${job.body.job_id}`)).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
    expect(await node.post('/backup/start', job.body)).toMatchObject({ status: 409, body: { code: 'job_settled' } });
    expectNothingLeft();
    expect(readdirSync(join(home, 'data/jobs'))).toEqual([]);
  });

  it('stops when discarded, and frees the disks before it answers', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 64 });
    write(vm, 'a.qcow2', 'write -P 1 0 64M');
    const job = await begin(vm, ['a.qcow2'], null, { rate: '8M' });
    await until(async () => (await job.report()).status === 'running');
    expect(await settle(vm, { jobId: job.body.job_id }, 'discarded', [])).toMatchObject({ status: 200 });
    write(vm, 'a.qcow2', 'write -P 2 0 64k');
    expectNothingLeft();
  });

  it('keeps running while the node is dead, and is finished by the restarted node', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 48, 'b.qcow2': 16 });
    write(vm, 'a.qcow2', 'write -P 1 0 48M');
    write(vm, 'b.qcow2', 'write -P 2 0 1M');
    const job = await begin(vm, ['a.qcow2', 'b.qcow2'], null, { rate: '100M' });
    await until(() => processesOf('main.copy.js').length > 0);
    await node.kill('SIGKILL');
    const before = processesOf('main.copy.js');
    await node.start();
    const taken = await job.report();
    expect(taken.sequence).toBeGreaterThan(2_000_000_000 - 1);
    expect(before.length).toBeGreaterThan(0);
    expect(await job.ended()).toMatchObject({ status: 'completed', snapshot_released: true });
    expectIdentical(vm, ['a.qcow2', 'b.qcow2'], job.files);
    expectNothingLeft();
  });

  it('fails with snapshot_lost if its snapshot disappeared while the node was dead', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 48 });
    write(vm, 'a.qcow2', 'write -P 1 0 48M');
    const job = await begin(vm, ['a.qcow2'], null, { rate: '8M' });
    await until(() => processesOf('main.copy.js').length > 0);
    await node.kill('SIGKILL');
    for (const pid of processesOf('qemu-nbd')) process.kill(pid, 'SIGKILL');
    await until(() => existsSync(join(home, 'data/run/backup-jobs', job.body.job_id, 'snapshot/disk-0/exit_code')));
    await node.start();
    expect(await job.ended()).toMatchObject({ status: 'failed', error: { code: 'snapshot_lost' }, snapshot_released: true });
    expectNothingLeft();
  });

  inLongProof(() => {
    it('is stopped and removed at the next start if its record is lost', async () => {
      const vm = makeVm('vm', { 'a.qcow2': 48 });
      write(vm, 'a.qcow2', 'write -P 1 0 48M');
      const job = await begin(vm, ['a.qcow2'], null, { rate: '8M' });
      await until(async () => (await job.report()).status === 'running' && processesOf('main.copy.js').length > 0);
      await node.kill('SIGKILL');
      rmSync(join(home, 'data/jobs', job.body.job_id), { recursive: true });
      await node.start();
      expectNothingLeft();
      expect(await settle(vm, { jobId: job.body.job_id }, 'discarded', [])).toMatchObject({ status: 200 });
      expect(bitmaps(vm, 'a.qcow2')).toEqual([]);
    });
  });
});

describe('settle', () => {
  it('removes the change ids of this hub that are not kept, and leaves those of other hubs', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    for (const name of [changeIdOf(HUB_ID, 'old'), changeIdOf(HUB_ID, 'kept'), 'sendense-ffffffff-x', 'foreign'])
      execFileSync('qemu-img', ['bitmap', '--add', join(vm, 'a.qcow2'), name]);
    const unknown = { jobId: randomUUID() };
    for (const _ of [1, 2]) {
      expect(await settle(vm, unknown, 'committed', [changeIdOf(HUB_ID, 'kept')])).toEqual({ status: 200, body: { settled: true } });
      expect(bitmaps(vm, 'a.qcow2').sort()).toEqual(['foreign', changeIdOf(HUB_ID, 'kept'), 'sendense-ffffffff-x'].sort());
    }
    expect(await settle(join(home, 'images/gone'), unknown, 'discarded', [])).toMatchObject({ status: 200 });
  });

  it('asks the hub to retry while the image is in use', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    execFileSync('qemu-img', ['bitmap', '--add', join(vm, 'a.qcow2'), changeIdOf(HUB_ID, 'old')]);
    const writer = new Target(join(vm, 'a.qcow2'), {});
    await writer.start();
    expect(await settle(vm, { jobId: randomUUID() }, 'discarded', [])).toMatchObject({ status: 409, body: { code: 'disk_in_use' } });
    await writer.stop();
    expect(await settle(vm, { jobId: randomUUID() }, 'discarded', [])).toMatchObject({ status: 200 });
  });
});

describe('bad input', () => {
  it('is refused with the reason, and nothing happens', async () => {
    const vm = makeVm('vm', { 'a.qcow2': 16 });
    const body = startBody(vm, ['a.qcow2'], null, ['nbd://127.0.0.1:1/x'], 16 * MIB);
    const cases: readonly (readonly [object, number, string])[] = [
      [{ ...body, job_id: '../x' }, 400, 'validation_failed'],
      [{ ...body, extra: 1 }, 400, 'validation_failed'],
      [{ ...body, disks: [] }, 400, 'validation_failed'],
      [{ ...body, disks: [...body.disks, ...body.disks] }, 400, 'validation_failed'],
      [{ ...body, disks: body.disks.map((disk) => ({ ...disk, disk_key: '../a' })) }, 400, 'validation_failed'],
      [{ ...body, disks: body.disks.map((disk) => ({ ...disk, parent_change_id: '--x y' })) }, 400, 'validation_failed'],
      [{ ...body, nbd_targets_string: 'a.qcow2:nbd+unix:///?socket=/x' }, 400, 'nbd_targets_malformed'],
      [{ ...body, nbd_targets_string: 'b.qcow2:nbd://127.0.0.1:1/x' }, 400, 'nbd_targets_mismatch'],
      [{ ...body, vm: { ...body.vm, source_ref: `${vm}/../vm` } }, 404, 'vm_not_found'],
      [{ ...body, vm: { ...body.vm, source_ref: '/etc' } }, 404, 'vm_not_found'],
      [{ ...body, vm: { ...body.vm, source: 'vsphere' } }, 400, 'validation_failed'],
    ];
    for (const [bad, status, code] of cases) expect(await node.post<Problem>('/backup/start', bad)).toMatchObject({ status, body: { code } });
    expect(bitmaps(vm, 'a.qcow2')).toEqual([]);
    expect(readdirSync(join(home, 'data/jobs'))).toEqual([]);
    expect((await fetch(`${node.url}/api/v1/vms`)).status).toBe(401);
  });
});

interface Backup {
  readonly jobId: string;
  readonly changeId: string;
  readonly report: NodeJobReport;
  /** Target files, in the order of the given keys. */
  readonly files: readonly string[];
}

interface BackupOptions {
  /** Maximum bits per second that each target accepts. */
  readonly rate?: string;
  readonly size?: number | undefined;
  /** The disks' sizes cannot be queried at the moment. */
  readonly free?: boolean;
  /** Key of a disk whose target has no server. */
  readonly unreachable?: string;
}

interface BegunBackup {
  readonly body: NodeStartBackup;
  readonly files: readonly string[];
  report(): Promise<NodeJobReport>;
  ended(): Promise<NodeJobReport>;
}

async function begin(
  vm: string,
  keys: readonly string[],
  parent: string | null,
  options: BackupOptions = {},
  parents?: readonly string[],
): Promise<BegunBackup> {
  const sizes = keys.map((key) => options.size ?? sizeOf(join(vm, key)));
  const files = keys.map((_, index) => {
    const file = join(home, 'targets', `${randomUUID()}.qcow2`);
    const back = parents?.[index];
    execFileSync('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      ...(back === undefined ? [] : ['-b', back, '-F', 'qcow2']),
      file,
      ...(back === undefined ? [`${sizes[index] ?? 0}`] : []),
    ]);
    return file;
  });
  const served = files.map((file) => new Target(file, { rate: options.rate }));
  targets.push(...served);
  await Promise.all(served.map((target) => target.start()));
  const uris = served.map((target, index) => (keys[index] === options.unreachable ? 'nbd://127.0.0.1:1/x' : target.uri));
  const body = startBody(vm, keys, parent, uris, ...sizes);
  expect(await node.post('/backup/start', body)).toMatchObject({ status: 202 });
  const report = async (): Promise<NodeJobReport> => (await node.get<NodeJobReport>(`/backup/${body.job_id}`)).body;
  return {
    body,
    files,
    report,
    async ended() {
      await until(async () => !['starting', 'running'].includes((await report()).status));
      await Promise.all(served.map((target) => target.stop()));
      return report();
    },
  };
}

async function backUp(vm: string, keys: readonly string[], parent: string | null, parents?: readonly string[], options: BackupOptions = {}): Promise<Backup> {
  const job = await begin(vm, keys, parent, options, parents);
  return { jobId: job.body.job_id, changeId: changeIdOf(HUB_ID, job.body.job_id), report: await job.ended(), files: job.files };
}

function startBody(vm: string, keys: readonly string[], parent: string | null, uris: readonly string[], ...sizes: readonly number[]): NodeStartBackup {
  return {
    job_id: randomUUID(),
    hub_id: HUB_ID,
    vm: { vm_id: randomUUID(), name: 'vm', source: 'image', source_ref: vm },
    nbd_targets_string: keys.map((key, index) => `${encodeURIComponent(key)}:${uris[index] ?? ''}`).join(','),
    disks: keys.map((key, index) => ({ disk_key: key, size_bytes: sizes[index] ?? 0, parent_change_id: parent === null ? null : diskChangeId(parent, key) })),
  };
}

function settle(vm: string, job: { readonly jobId: string }, outcome: NodeSettleBackup['outcome'], keep: readonly string[]): Promise<Answer<unknown>> {
  return node.post(`/backup/${job.jobId}/settle`, { hub_id: HUB_ID, outcome, vm: { source: 'image', source_ref: vm }, keep_change_ids: keep });
}

/** @param disks file name to MiB */
function makeVm(name: string, disks: Readonly<Record<string, number>>): string {
  const vm = join(home, 'images', name);
  mkdirSync(vm);
  for (const [file, mib] of Object.entries(disks)) image(join(vm, file), mib);
  return vm;
}

function image(path: string, mib: number): void {
  execFileSync('qemu-img', ['create', '-q', '-f', path.endsWith('.raw') ? 'raw' : 'qcow2', path, `${mib}M`]);
}

function write(vm: string, key: string, ...commands: readonly string[]): void {
  execFileSync('qemu-io', ['-f', key.endsWith('.raw') ? 'raw' : 'qcow2', ...commands.flatMap((command) => ['-c', command]), join(vm, key)]);
}

function randomWrites(vm: string, key: string, mib: number, count: number): void {
  const commands = Array.from({ length: count }, () => {
    const offset = Math.floor(Math.random() * (mib * 256 - 64)) * 4096;
    return Math.random() < 0.3
      ? `write -z ${offset} 65536`
      : `write -P ${Math.floor(Math.random() * 256)} ${offset} ${4096 * (1 + Math.floor(Math.random() * 16))}`;
  });
  write(vm, key, ...commands);
}

/** Forced, because tests also query images in use. */
function infoOf(path: string): { 'virtual-size': number; 'format-specific'?: { data: { bitmaps?: { name: string }[] } } } {
  return JSON.parse(execFileSync('qemu-img', ['info', '-U', '--output=json', path], { encoding: 'utf8' })) as ReturnType<typeof infoOf>;
}

function sizeOf(path: string): number {
  return existsSync(path) ? infoOf(path)['virtual-size'] : 16 * MIB;
}

function bitmaps(vm: string, key: string): string[] {
  return (infoOf(join(vm, key))['format-specific']?.data.bitmaps ?? []).map((bitmap) => bitmap.name);
}

function diskOf(report: NodeJobReport, key: string): NodeJobReport['disks'][number] {
  const disk = report.disks.find((one) => one.disk_key === key);
  if (disk === undefined) throw new Error(`no disk ${key} in the report`);
  return disk;
}

/** qemu-img compare exits with 1 on any difference, which makes this throw. */
function expectIdentical(vm: string, keys: readonly string[], files: readonly string[]): void {
  keys.forEach((key, index) =>
    execFileSync('qemu-img', ['compare', '-q', '-f', key.endsWith('.raw') ? 'raw' : 'qcow2', '-F', 'qcow2', join(vm, key), files[index] ?? '']),
  );
}

/** Expects no processes and no run directories of any job. */
function expectNothingLeft(): void {
  expect(readdirSync(join(home, 'data/run/backup-jobs'))).toEqual([]);
  expect([...processesOf('main.copy.js'), ...processesOf('qemu-nbd')]).toEqual([]);
}

/** Processes of the node under test, recognised by its run directory in their command lines. */
function processesOf(tool: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return argv.slice(0, 2).some((one) => one.endsWith(tool)) && argv.some((one) => decodeURIComponent(one).includes(join(home, 'data')));
      } catch {
        return false;
      }
    })
    .map(Number);
}

function which(tool: string): string {
  const folder = (process.env['PATH'] ?? '').split(delimiter).find((one) => existsSync(join(one, tool)));
  if (folder === undefined) throw new Error(`${tool} is not in PATH`);
  return join(folder, tool);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`still not: ${condition.toString()}`);
    await pause(10);
  }
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createTcpServer();
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address !== null ? done(address.port) : failed(new Error('no port'))));
    });
  });
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}

/** A QCOW2 file on a TCP port, as a hub would serve it; with a rate, behind a proxy that accepts no more than that. */
class Target {
  private readonly processes: ChildProcess[] = [];
  uri = '';

  constructor(
    private readonly file: string,
    private readonly options: { readonly rate?: string | undefined },
  ) {}

  async start(): Promise<void> {
    const port = await freePort();
    this.uri = `nbd://127.0.0.1:${port}/e`;
    await this.spawnOn(port, 'qemu-nbd', ['--persistent', '--shared=20', '-f', 'qcow2', '-b', '127.0.0.1', '-p', `${port}`, '-x', 'e', this.file]);
    if (this.options.rate === undefined) return;
    const proxy = await freePort();
    await this.spawnOn(proxy, 'nbdkit', ['-f', '-i', '127.0.0.1', '-p', `${proxy}`, '--filter=rate', 'nbd', `uri=${this.uri}`, `rate=${this.options.rate}`]);
    this.uri = `nbd://127.0.0.1:${proxy}/e`;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    for (const child of this.processes.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once('exit', done));
      child.kill(signal);
      await ended;
    }
  }

  private async spawnOn(port: number, tool: string, argv: readonly string[]): Promise<void> {
    this.processes.push(spawn(tool, argv, { stdio: 'ignore' }));
    await until(() => canConnect(port));
  }
}

/** Records the telemetry it receives. */
class FakeHub {
  readonly heard: NodeJobReport[] = [];
  readonly nodeIds = new Set<unknown>();
  url = '';
  private readonly server: Server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => {
      const signature = parseSignature(request.headers.authorization);
      const call = { direction: 'to_hub' as const, method: request.method ?? '', path: request.url ?? '', body: text };
      if (signature !== null && signature !== 'malformed' && isSignedWith(TOKEN, call, signature)) {
        const report = JSON.parse(text) as NodeJobReport;
        if (request.url === `/api/v1/telemetry/backup/${report.job_id}`) this.heard.push(report);
        this.nodeIds.add(signature.nodeId);
      }
      response.writeHead(200, proofOf(request, TOKEN, 200, '{}')).end('{}');
    });
  });

  async listen(): Promise<void> {
    await new Promise<void>((done) => this.server.listen(0, '127.0.0.1', done));
    const address = this.server.address();
    if (typeof address === 'object' && address !== null) this.url = `http://127.0.0.1:${address.port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}

class NodeProgram {
  url = '';
  private child: ChildProcess | null = null;

  constructor(
    private readonly directory: string,
    private readonly hubUrl: string,
  ) {}

  async start(environment: Readonly<Record<string, string>> = {}): Promise<void> {
    const log = join(this.directory, 'node.log');
    const output = openSync(log, 'a');
    rmSync(join(this.directory, 'data/node.url'), { force: true });
    this.child = spawn(process.execPath, [PROGRAM], {
      stdio: ['ignore', output, output],
      env: {
        PATH: process.env['PATH'],
        NODE_COMPILE_CACHE: join(ROOT, 'dist/.compile-cache'),
        SENDENSE_DATA_DIRECTORY: join(this.directory, 'data'),
        SENDENSE_LISTEN_PORT: '0',
        SENDENSE_HUB_URL: this.hubUrl,
        SENDENSE_TOKEN_FILE: join(this.directory, 'token'),
        SENDENSE_IMAGE_ROOTS: join(this.directory, 'images'),
        SENDENSE_TELEMETRY_INTERVAL_MS: '100',
        ...environment,
      },
    });
    closeSync(output);
    const file = join(this.directory, 'data/node.url');
    await until(() => {
      if (this.child?.exitCode !== null) throw new Error(`the node exited: ${readFileSync(log, 'utf8')}`);
      return existsSync(file) && readFileSync(file, 'utf8').endsWith('\n');
    });
    this.url = readFileSync(file, 'utf8').trim();
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await ended;
  }

  get<Body>(path: string): Promise<Answer<Body>> {
    return this.ask('GET', path);
  }

  post<Body>(path: string, body: object): Promise<Answer<Body>> {
    return this.ask('POST', path, body);
  }

  private async ask<Body>(method: string, path: string, body?: object): Promise<Answer<Body>> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    // The tests check the body themselves.
    return { status: response.status, body: (await response.json()) as Body };
  }
}
