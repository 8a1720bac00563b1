import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { SlowCopies } from '../support/slow-copies.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdkit', 'nbdinfo');
const CLI = join(import.meta.dirname, '../../dist/src/cli/main.cli.js');

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let database: TestDatabase;
let system: HubSystem;
let vm: ImageVm;
let copies: SlowCopies;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  copies = await SlowCopies.create(join(system.directory, 'tools'));
  await system.start({ PATH: copies.path });
  vm = await ImageVm.create(join(system.imageRoot, 'web1'), [{ file: 'disk0.qcow2', mib: 64, dataMib: 8 }]);
  await system.api('POST', '/repositories', { name: 'main', type: 'local', path: system.repositoryPath });
  await until('the node to be reachable', async () => (await sendense('node', 'list')).stdout.includes('reachable'));
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

function sendense(...argv: readonly string[]): Promise<Ended> {
  const env = { PATH: process.env['PATH'], SENDENSE_DATA_DIRECTORY: system.dataDirectory };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [CLI, ...argv], { env }, (error, stdout, stderr) => {
      const code = error?.code ?? 0;
      if (typeof code === 'number') resolve({ code, stdout, stderr });
      else reject(error ?? new Error('it cannot be run'));
    });
  });
}

async function json<Body>(...argv: readonly string[]): Promise<Body> {
  const { code, stdout, stderr } = await sendense(...argv, '--json');
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return JSON.parse(stdout) as Body;
}

describe('the command line, with a running hub', () => {
  it('registers a VM, backs it up, and shows what there is, for people and for programs', async () => {
    const nodes = await json<{ nodes: { node_id: string; name: string }[] }>('node', 'list');
    expect(await json('node', 'show', nodes.nodes[0]?.name ?? '')).toMatchObject({ node_id: nodes.nodes[0]?.node_id });
    const registered = await sendense('vm', 'register', 'web1', '--ref', vm.folder, '--node', nodes.nodes[0]?.name ?? '');
    expect(registered).toMatchObject({ code: 0, stdout: expect.stringMatching(/^name +web1$/m) });
    expect(await json('vm', 'show', 'web1')).toMatchObject({ name: 'web1', source_ref: vm.folder });
    expect((await sendense('vm', 'list')).stdout).toMatch(/^VM ID +NAME +SOURCE +TOTAL SIZE BYTES +SOURCE REF\n\S+ +web1 +image +64\.0 MiB +\//);
    expect((await sendense('repository', 'list')).stdout).toMatch(/ main +local +\//);
    expect(await json('repository', 'show', 'main')).toMatchObject({ path: system.repositoryPath });

    const done = await sendense('backup', 'start', 'web1', '--watch');
    expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Backup \S+ is completed\.$/m), stderr: expect.stringMatching(/^completed$/m) });
    const second = await json<{ backup_id: string }>('backup', 'start', 'web1', '--repository', 'main', '--type', 'incremental');
    expect(await json('backup', 'watch', second.backup_id)).toMatchObject({ status: 'completed', backup_type: 'incremental' });
    expect(await json('backup', 'list', '--vm', 'web1', '--status', 'completed')).toMatchObject({ backups: [{}, {}] });
    expect(await sendense('backup', 'list', '--limit', '1')).toMatchObject({
      stdout: expect.stringContaining('web1'),
      stderr: expect.stringContaining('--limit'),
    });
    const before = await sendense('backup', 'list', '--as-of', '2020-01-01T00:00:00Z');
    expect(before).toMatchObject({ code: 0, stderr: expect.stringMatching(/^as of 2020-01-01T00:00:00\.000Z, before the first event$/m) });
  });

  it('ends quietly when what reads its output has ended', async () => {
    const child = spawn(process.execPath, [CLI, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    child.stderr.setEncoding('utf8');
    let stderr = '';
    child.stderr.on('data', (text: string) => (stderr += text));
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('cancels a backup, and a watcher learns of it', async () => {
    // For 8 MiB: it is still being copied when the cancel arrives.
    await copies.limit(256 * 1024);
    const { backup_id: id } = await json<{ backup_id: string }>('backup', 'start', 'web1', '--type', 'full');
    expect(await json('backup', 'cancel', id)).toMatchObject({ status: 'cancelled' });
    expect(await sendense('backup', 'watch', id)).toMatchObject({ code: 1, stdout: `Backup ${id} is cancelled.\n` });
    await copies.limit(null);
  });

  it('replays what happened, as a timeline of requests or event by event', async () => {
    const { backups } = await json<{ backups: { backup_id: string; status: string }[] }>('backup', 'list', '--vm', 'web1');
    const id = backups.find(({ status }) => status === 'completed')?.backup_id ?? '';
    const { stdout: timeline } = await sendense('audit', 'replay', '--backup', id);
    expect(timeline).toMatch(
      new RegExp(`^\\S+Z  backup ${id} of web1: completed, \\S+ s\n  requested by api:token with POST /api/v1/backups; correlation `, 'm'),
    );
    expect(timeline).toMatch(/^ +\+\S+ s {2}node:\S+ +DiskTransferCompleted/m);
    expect(timeline.match(/^\S/gm)).toHaveLength(1);

    const lines = async (...filter: readonly string[]): Promise<{ stream: string; position: string; time: string }[]> => {
      const { code, stdout } = await sendense('audit', 'replay', '--json', ...filter);
      expect(code).toBe(0);
      return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as { stream: string; position: string; time: string }]));
    };
    const all = await lines();
    const ofVm = await lines('--vm', 'web1');
    expect(ofVm.filter(({ stream }) => stream.startsWith('backup-')).map(({ position }) => position)).toEqual(
      all.filter(({ stream }) => stream.startsWith('backup-')).map(({ position }) => position),
    );
    expect(ofVm.filter(({ stream }) => /^(node|repository)-/.test(stream))).toEqual([]);
    expect(new Set((await lines('--stream', `backup-${id}`)).map(({ stream }) => stream))).toEqual(new Set([`backup-${id}`]));
    const [, second, third] = all.map(({ time }) => time).sort();
    expect((await lines('--from', second ?? '', '--to', third ?? '')).every(({ time }) => time >= (second ?? '') && time < (third ?? ''))).toBe(true);
    for (const wrong of [['--from', 'yesterday'], ['--from', '2026-11-22', '--to', '2026-11-21'], ['--vm', 'web1', '--backup', id], ['--to']]) {
      expect((await sendense('audit', 'replay', ...wrong)).code).toBe(2);
    }
    expect(await sendense('audit', 'replay', '--vm', 'nobody')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('there is no vm "nobody"'),
    });
  });

  it('verifies a backup, restores its disks, and shows the restore', async () => {
    const { backups } = await json<{ backups: { backup_id: string }[] }>('backup', 'list', '--vm', 'web1', '--status', 'completed');
    const id = backups[0]?.backup_id ?? '';
    expect(await sendense('backup', 'verify', id)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Verification \S+ in repository \S+: passed, 2 files read\.\n$/),
    });
    const target = join(system.directory, 'restored');
    await mkdir(target);
    const restored = await sendense('recover', 'disks', id, '--target', target, '--format', 'raw', '--watch');
    expect(restored).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Restore \S+ is completed\./) });
    expect(restored.stdout).toContain(`\n${join(target, 'web1-disk0.raw')}\n`);
    expect((await sendense('recover', 'list')).stdout).toMatch(/ web1 +\S+ +disks +completed +100 /);
    const again = await sendense('recover', 'disks', id, '--target', target, '--format', 'raw', '--json');
    expect(again.code).toBe(1);
    expect(JSON.parse(again.stdout)).toMatchObject({ error: { code: 'target_exists' } });
    expect(await sendense('recover', 'vm', id, '--name', 'again', '--storage', '/srv')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has no VM definition'),
    });
    expect(await sendense('backup', 'delete', backups[0]?.backup_id.replace(/.$/, 'x') ?? '')).toMatchObject({ code: 1 });
  });

  it('creates, edits, runs and pauses a policy, and shows what it does', async () => {
    expect(await sendense('vm', 'label', 'web1', 'env=prod')).toEqual({ code: 0, stdout: '', stderr: '' });
    const settings = ['--schedule', 'daily at 22:00', '--time-zone', 'UTC', '--repository', 'main', '--include', 'label=env=prod', 'vm=web1'];
    expect((await sendense('policy', 'create', 'nightly', ...settings)).stdout).toMatch(/^schedule +daily at 22:00$/m);
    expect((await sendense('policy', 'list')).stdout).toMatch(/^\S+ +nightly +true +daily at 22:00 +UTC +1$/m);
    expect(await json('policy', 'edit', 'nightly', '--schedule', 'every 4h')).toMatchObject({
      version: 2,
      schedule: 'every 4h',
      include: [{ by: 'label' }, {}],
    });
    expect((await sendense('policy', 'preview', 'nightly')).stdout).toMatch(
      /^Backs up 1 VM into repository "main": every 4h \(UTC\)[\s\S]*^web1 +yes +label env=prod$/m,
    );
    expect(await json('policy', 'edit', 'nightly', '--rpo', '24h')).toMatchObject({ version: 3, rpo_seconds: 86_400 });
    expect((await sendense('policy', 'show', 'nightly')).stdout).toMatch(/^rpo_seconds +86400$/m);
    expect((await sendense('policy', 'preview', 'nightly')).stdout).toContain('with a newest restore point at most 1 d old.');
    expect(await json('policy', 'edit', 'nightly', '--rpo', 'none')).toMatchObject({ version: 4, rpo_seconds: null });
    expect(await sendense('policy', 'edit', 'nightly', '--rpo', 'soon')).toMatchObject({ code: 2, stderr: expect.stringContaining('such as 90m') });
    const limits = ['--start-window', 'sat,sun 22:00-06:00', '--blackout', 'defer=2026-12-24T16:00:00Z/2026-12-27', 'skip=2026-12-31/2027-01-01'];
    limits.push('--verify-every', '1', '--boot-every', '30', '--console-text', 'none', '--run-within', 'cancel', '--concurrency-timeout', '2h');
    expect(await json('policy', 'edit', 'nightly', ...limits)).toMatchObject({
      version: 5,
      start_window: { from: '22:00', until: '06:00', days: ['sat', 'sun'] },
      blackouts: [
        { from: '2026-12-24T16:00:00.000Z', until: '2026-12-27T00:00:00.000Z', effect: 'defer' },
        { from: '2026-12-31T00:00:00.000Z', until: '2027-01-01T00:00:00.000Z', effect: 'skip' },
      ],
      verification: { every_nth: 1, boot_every_days: 30, console_text: null, guest_agent: true, timeout_seconds: 300 },
      run_within: 'cancel',
      concurrency_timeout_seconds: 7200,
    });
    expect(await json('policy', 'edit', 'nightly', '--start-window', 'none', '--blackout', 'none', '--boot-every', '0')).toMatchObject({
      start_window: null,
      blackouts: [],
      verification: { every_nth: 1, boot_every_days: null },
    });
    expect(await sendense('policy', 'edit', 'nightly', '--blackout', 'never=1/2')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('skip=2026-12-31'),
    });
    const other = await ImageVm.create(join(system.imageRoot, 'web3'), [{ file: 'disk0.qcow2', mib: 16 }]);
    await sendense('vm', 'register', 'web3', '--ref', other.folder);
    await sendense('vm', 'label', 'web3', 'env=prod');
    expect(await json('policy', 'opt-out', 'nightly', 'web3', '--reason', 'Is being moved.', '--until', '2040-01-01')).toMatchObject({
      opt_outs: [{ reason: 'Is being moved.', until: '2040-01-01T00:00:00.000Z' }],
    });
    expect((await sendense('policy', 'preview', 'nightly')).stdout).toMatch(/^web3 +no +.*Is being moved\./m);
    expect(await json('policy', 'opt-in', 'nightly', 'web3')).toMatchObject({ version: 8, opt_outs: [] });
    await sendense('vm', 'remove', 'web3');
    expect((await sendense('policy', 'run', 'nightly')).stdout).toMatch(/^It backs up 1 VM/);
    await until('the run to finish', async () => /manual +started +- +1 of 1 +verify passed 1 /.test((await sendense('policy', 'runs', 'nightly')).stdout));
    expect((await sendense('policy', 'pause', 'nightly')).stdout).toBe('Policy "nightly" is disabled as of version 9.\n');
    expect(await json('policy', 'resume', 'nightly')).toMatchObject({ version: 10, enabled: true });
    expect(await sendense('policy', 'edit', 'nightly', '--schedule', '0 0 31 2 *')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('does not exist'),
    });
    expect(await sendense('policy', 'create', 'other', '--include', 'colour=red')).toMatchObject({ code: 2, stderr: expect.stringContaining('vm=') });
  });

  it('prints reports, which can be printed again', async () => {
    const people = await sendense('report', 'protection');
    expect(people).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Protection of VMs\nVMs +1\n/), stderr: '' });
    expect(people.stdout).toMatch(/\nVM +PROTECTION +POLICIES .*\nweb1 /);
    const [, asOf = '', at = '', sha256 = ''] = /as_of=(\d+)&at=(\S+)\nSHA-256 (\w{64})\n$/.exec(people.stdout) ?? [];
    const again = await sendense('report', 'protection', '--as-of', asOf, '--at', at, '--csv');
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^vm,status,.*\r\nweb1,/), stderr: expect.stringContaining(`SHA-256 ${sha256}\n`) });
    expect((await sendense('report', 'sla', '--html')).stdout).toMatch(/^<!doctype html>/);
    expect((await sendense('report', 'restore-evidence')).stdout).toMatch(/\nweb1 +(?:none|verified|restored) /);
    expect((await sendense('report', 'changes', '--csv', '--table', 'policies')).stdout).toMatch(/,nightly,edited,10,enabled: false -> true,/);
    expect((await sendense('report', 'capacity')).stdout).toMatch(/\nweb1 +main +\d+ .*iB/);
    expect(await json('report', 'runs', '--from', '2026-01-01', '--until', '2026-02-01')).toMatchObject({ report: 'runs', totals: { runs: 0 } });
    expect(await sendense('report', 'runs', '--until', '2999-01-01')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('until must not be in the future'),
    });
    expect(await sendense('report', 'runs', '--csv', '--html')).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot be used with') });
  });

  it('removes a VM', async () => {
    const other = await ImageVm.create(join(system.imageRoot, 'web2'), [{ file: 'disk0.qcow2', mib: 16 }]);
    await sendense('vm', 'register', 'web2', '--ref', other.folder);
    expect(await sendense('vm', 'remove', 'web2')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await sendense('vm', 'list')).stdout).not.toContain('web2');
  });

  it('says what is wrong: in words, and with --json as a code', async () => {
    expect(await sendense('vm', 'remove', 'web1')).toMatchObject({ code: 1, stderr: expect.stringMatching(/^sendense vm remove: .*backup/) });
    const refused = await sendense('vm', 'remove', 'web1', '--json');
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'vm_has_backups' } });
    expect(await sendense('vm', 'show', 'nobody')).toMatchObject({
      code: 1,
      stderr: 'sendense vm show: there is no vm "nobody"; sendense vm list shows them all\n',
    });
    expect(await sendense('backup', 'show', 'web1')).toMatchObject({ code: 1, stderr: expect.stringContaining('is not the id of a backup') });
    expect(await sendense('vm', 'list', '--limit', '0')).toMatchObject({ code: 2, stderr: expect.stringContaining('from 1 to 1000') });
    expect(await sendense('vm', 'list', '--hub', 'http://127.0.0.1:9')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nothing answers at http://127.0.0.1:9'),
    });
    expect(await sendense('backup', 'start')).toMatchObject({
      code: 2,
      stderr: "sendense backup start: missing required argument 'vm'\nSee: sendense backup start --help\n",
    });
  });
});
