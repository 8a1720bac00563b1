import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { appendFile, chmod, open, readdir, readFile, readlink, rename, truncate, utimes } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, jest } from '@jest/globals';
import { BackupClient, filesBelow } from '../support/backup-client.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { LoopMount } from '../support/loop-mount.js';
import { proofOf } from '../support/proven-answers.js';
import { inLongProof, IS_LONG } from '../support/long-proof.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireLoopMounts, requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';

jest.setTimeout(120_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const mounts = requireLoopMounts();

let database: TestDatabase;
let system: HubSystem;
let gates: ToolGates;
let client: BackupClient;
let repository: string;
let localNode: string;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
  localNode = (await system.api<{ nodes: { node_id: string }[] }>('GET', '/nodes')).body.nodes[0]?.node_id ?? '';
});

afterAll(async () => {
  await system.destroy();
  await database.drop();
});

afterEach(async () => {
  await gates.openAll();
  await client.requireNothingHeld();
});

/** A VM with two disks of its own, and a full of it. */
async function protectedVm(name: string): Promise<ImageVm> {
  const vm = await ImageVm.create(join(system.imageRoot, name), [
    { file: 'disk0.qcow2', mib: 8, dataMib: 1 },
    { file: 'disk1.qcow2', mib: 8, dataMib: 1 },
  ]);
  await client.registerVm(name, vm.folder, localNode);
  await client.backUp(name, repository, 'full');
  return vm;
}

async function requireRightNext(name: string, vm: ImageVm, repositoryId: string, expected: object): Promise<void> {
  await vm.write('disk0.qcow2', 131072, 65536);
  const copies = await vm.copyTo(join(system.directory, 'copies'));
  const next = await client.backUp(name, repositoryId, 'auto');
  expect(next).toMatchObject(expected);
  expect(next.disk_results).toHaveLength(copies.size);
  for (const disk of next.disk_results) await requireSameContent(copies.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
}

/** What was refused has changed nothing in repository and images. */
async function withoutTrace(vm: ImageVm, act: () => Promise<void>): Promise<void> {
  const before = await filesBelow(system.repositoryPath);
  const bitmaps = await vm.bitmaps('disk0.qcow2');
  await act();
  expect(await filesBelow(system.repositoryPath)).toEqual(before);
  expect(await vm.bitmaps('disk0.qcow2')).toEqual(bitmaps);
  await client.requireNothingHeld();
}

describe('a VM whose disks are not those of its last backup', () => {
  it.each([
    ['has a new disk', 'disk_added', 'disk2.qcow2', (vm: ImageVm) => vm.addDisk({ file: 'disk2.qcow2', mib: 8, dataMib: 1 })],
    ['has a bitmap that was not closed cleanly', 'change_id_lost', 'disk1.qcow2', (vm: ImageVm) => leaveInUse(vm.path('disk1.qcow2'))],
    ...(IS_LONG
      ? ([
          ['has grown a disk', 'disk_resized', 'disk1.qcow2', (vm: ImageVm) => vm.resize('disk1.qcow2', 16)],
          ['has disks that have changed their names', 'change_id_lost', 'disk0.qcow2', (vm: ImageVm) => vm.exchange('disk0.qcow2', 'disk1.qcow2')],
          ['has lost a disk', 'disk_removed', 'disk1.qcow2', (vm: ImageVm) => vm.removeDisk('disk1.qcow2')],
          ['has shrunk a disk', 'disk_resized', 'disk1.qcow2', (vm: ImageVm) => vm.resize('disk1.qcow2', 4)],
          [
            'has lost a bitmap',
            'change_id_lost',
            'disk1.qcow2',
            async (vm: ImageVm) => vm.removeBitmap('disk1.qcow2', (await vm.bitmaps('disk1.qcow2'))[0] ?? ''),
          ],
        ] as const)
      : []),
  ] as const)('and %s gets no incremental, but a full that says why', async (what, reason, disk, change) => {
    const vm = await protectedVm(what);
    // Shrinking is refused by qemu as long as bitmaps exist.
    if (what === 'has shrunk a disk') for (const bitmap of await vm.bitmaps('disk1.qcow2')) await vm.removeBitmap('disk1.qcow2', bitmap);
    await change(vm);
    await withoutTrace(vm, async () => {
      expect(await client.refused(what, repository, 'incremental')).toMatchObject({
        status: 409,
        code: 'incremental_impossible',
        reason,
        detail: expect.stringContaining(`"${disk}"`),
      });
    });
    await requireRightNext(what, vm, repository, { backup_type: 'full', full_reason: reason, full_reason_detail: expect.stringContaining(disk) });
  });

  /** As a qemu that is killed in the middle of a write leaves it. */
  async function leaveInUse(path: string): Promise<void> {
    const writer = spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'pipe', 'inherit'] });
    writer.stdin.write('write -P 1 0 65536\nflush\n');
    await until(
      'the write',
      async () => (await readFile(`/proc/${writer.pid ?? 0}/io`, 'utf8').then(String)).includes('write_bytes') && (await hasWritten(writer)),
    );
    const ended = once(writer, 'exit');
    writer.kill('SIGKILL');
    await ended;
  }

  async function hasWritten(writer: ChildProcess): Promise<boolean> {
    const [said] = (await once(writer.stdout ?? process.stdin, 'data')) as [Buffer];
    return said.length > 0;
  }
});

describe('a VM whose newest restore point is', () => {
  it.each([
    ['altered', 'parent_altered', alter],
    ...(IS_LONG
      ? ([
          ['missing', 'parent_missing', (path: string) => rename(path, `${path}.elsewhere`)],
          ['truncated', 'parent_truncated', (path: string) => truncate(path, 100_000)],
          ['longer', 'parent_altered', (path: string) => appendFile(path, 'more')],
        ] as const)
      : []),
  ] as const)('%s gets no incremental, but a full that says why, and the chain shows the damage', async (what, code, damage) => {
    const vm = await protectedVm(`parent ${what}`);
    const parent = await client.newest(`parent ${what}`);
    const path = parent.disk_results[1]?.qcow2_path ?? '';
    await chmod(path, 0o644);
    await damage(path);
    await withoutTrace(vm, async () => {
      expect(await client.refused(`parent ${what}`, repository, 'incremental')).toMatchObject({
        status: 409,
        code: 'incremental_impossible',
        reason: code,
        detail: expect.stringContaining(path),
      });
    });
    await requireRightNext(`parent ${what}`, vm, repository, { backup_type: 'full', full_reason: code, full_reason_detail: expect.stringContaining(path) });
    const damaged = await system.api<{ events: { data: object }[] }>('GET', '/audit/events?type=RestorePointDamaged');
    expect(damaged.body.events.map(({ data }) => data)).toContainEqual(expect.objectContaining({ backup_id: parent.backup_id, code }));
  });

  /** One byte within the data, of which length and time tell nothing. */
  async function alter(path: string): Promise<void> {
    const file = await open(path, 'r+');
    const { size } = await file.stat();
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 70_000);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 0xff]), 0, 1, size - 70_000);
    await file.close();
    await utimes(path, new Date(), new Date());
  }
});

describe('a disk that a running program holds open for writing', () => {
  it.each([
    ['qemu', (path: string) => spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'ignore', 'inherit'] })],
    ...(IS_LONG
      ? ([
          [
            'another',
            (path: string) =>
              spawn(process.execPath, ['-e', 'require("node:fs").openSync(process.argv[1], "r+"); process.stdin.resume();', path], {
                stdio: ['pipe', 'ignore', 'inherit'],
              }),
          ],
        ] as const)
      : []),
  ] as const)('(%s) is refused by the name of the program, and backed up when it has ended', async (what, openDisk) => {
    const vm = await protectedVm(`opened by ${what}`);
    const before = await filesBelow(system.repositoryPath);
    const program = openDisk(vm.path('disk1.qcow2'));
    const ended = once(program, 'exit');
    try {
      // Asked earlier, a backup may begin, and not come to rest before the program has ended.
      await until('the program to open the disk', async () => {
        const fds = `/proc/${program.pid ?? 0}/fd`;
        const files = await Promise.all((await readdir(fds)).map((fd) => readlink(join(fds, fd)).catch(() => '')));
        return files.includes(vm.path('disk1.qcow2'));
      });
      const problem = await client.refused(`opened by ${what}`, repository, 'auto');
      expect(problem).toMatchObject({ status: 409, code: 'disk_in_use', detail: expect.stringMatching(new RegExp(`"disk1.qcow2".*${program.pid ?? 0}`)) });
      await client.requireNothingHeld();
    } finally {
      program.kill('SIGKILL');
      await ended;
    }
    expect(Object.keys(await filesBelow(system.repositoryPath)).filter((path) => path.includes('.partial'))).toEqual(
      Object.keys(before).filter((path) => path.includes('.partial')),
    );
    await requireRightNext(`opened by ${what}`, vm, repository, {});
  });
});

describe('a tool of the hub', () => {
  inLongProof(() => {
    it('that is missing is named, and nothing stays of the backup', async () => {
      const vm = await protectedVm('no qemu-nbd');
      const putBack = await gates.remove('qemu-nbd');
      await withoutTrace(vm, async () => {
        const problem = await client.refused('no qemu-nbd', repository, 'incremental');
        expect(problem).toMatchObject({ status: 503, code: 'export_tool_missing', stage: 'preparing', detail: expect.stringContaining('qemu-nbd') });
        expect(await client.atRest(String(problem['backup_id']))).toMatchObject({
          status: 'failed',
          error: { code: 'export_tool_missing', stage: 'preparing' },
        });
      });
      await putBack();
      await requireRightNext('no qemu-nbd', vm, repository, { backup_type: 'incremental' });
    });
  });

  inLongProof(() => {
    it('that dies at its start is shown with its exit code and its last words', async () => {
      const vm = await protectedVm('dying qemu-nbd');
      const repair = await gates.fail('qemu-nbd', 'disk-1.qcow2', 3, 'qemu-nbd: out of luck');
      await withoutTrace(vm, async () => {
        const problem = await client.refused('dying qemu-nbd', repository, 'incremental');
        expect(problem).toMatchObject({ status: 503, code: 'export_exited_early', detail: expect.stringMatching(/disk 1 .*exit code 3.*out of luck/) });
        await client.atRest(String(problem['backup_id']));
      });
      await repair();
      await requireRightNext('dying qemu-nbd', vm, repository, { backup_type: 'incremental' });
    });
  });

  it('that fails in the middle of a transfer undoes all disks', async () => {
    const vm = await protectedVm('failing nbdcopy');
    await vm.write('disk1.qcow2', 0, 65536);
    const repair = await gates.fail('nbdcopy', 'disk1', 7, 'nbdcopy: out of luck');
    await withoutTrace(vm, async () => {
      const { backup_id } = await client.started('failing nbdcopy', repository, 'incremental');
      expect(await client.atRest(backup_id)).toMatchObject({
        status: 'failed',
        error: { code: 'transfer_failed', stage: 'transfer', detail: 'The copy of disk "disk1.qcow2" ended with exit code 7: nbdcopy: out of luck' },
      });
    });
    await repair();
    await requireRightNext('failing nbdcopy', vm, repository, { backup_type: 'incremental' });
  });
});

describe('a repository', () => {
  it('whose path is gone refuses, changes nothing, and serves again when it is back', async () => {
    const vm = await protectedVm('away');
    await rename(system.repositoryPath, `${system.repositoryPath}-away`);
    const problem = await client.refused('away', repository, 'incremental');
    expect(problem).toMatchObject({ status: 503, code: 'repository_unavailable', detail: expect.stringContaining(system.repositoryPath) });
    expect((await client.problem('GET', `/repositories/${repository}/storage`)).status).toBe(503);
    await rename(`${system.repositoryPath}-away`, system.repositoryPath);
    await requireRightNext('away', vm, repository, { backup_type: 'incremental' });
  });

  mounts.it('that is full, read-only or not mounted says so, loses nothing, and serves again', async () => {
    const mount = await LoopMount.create(system.directory, 24);
    try {
      const small = await client.createRepository('small', mount.path);
      const vm = await ImageVm.create(join(system.imageRoot, 'large'), [
        { file: 'disk0.qcow2', mib: 64, dataMib: 1 },
        { file: 'disk1.qcow2', mib: 64, dataMib: 2 },
      ]);
      await client.registerVm('large', vm.folder, localNode);
      await client.backUp('large', small, 'full');
      await vm.write('disk1.qcow2', 4 * 1024 * 1024, 40 * 1024 * 1024);
      const before = await filesBelow(mount.path);
      const bitmaps = await vm.bitmaps('disk1.qcow2');
      const { backup_id } = await client.started('large', small, 'incremental');
      const failed = await client.atRest(backup_id);
      expect(failed).toMatchObject({ status: 'failed', error: { code: 'repository_full', stage: 'transfer', detail: expect.stringContaining(mount.path) } });
      expect(await filesBelow(mount.path)).toEqual(before);
      expect(await vm.bitmaps('disk1.qcow2')).toEqual(bitmaps);
      await client.requireNothingHeld();

      await mount.remount('ro');
      expect(await client.refused('large', small, 'auto')).toMatchObject({
        status: 503,
        code: 'repository_unavailable',
        detail: expect.stringMatching(/not writable.*EROFS/),
      });
      await mount.remount('rw');
      await mount.unmount();
      expect(await client.refused('large', small, 'auto')).toMatchObject({
        status: 503,
        code: 'repository_unavailable',
        detail: expect.stringContaining('not mounted'),
      });
      await mount.mountAgain();
      expect(await filesBelow(mount.path)).toEqual(before);

      // The same chain goes on in a place with room, and in the small one once there is less to carry.
      await vm.removeDisk('disk1.qcow2');
      await requireRightNext('large', vm, small, { backup_type: 'full', full_reason: 'disk_removed' });
    } finally {
      await mount.remove();
    }
  });
});

describe('a node', () => {
  let server: Server;
  let answer: (path: string) => { status: number; body: string } | null;
  let nodeId: string;
  let url: string;

  beforeAll(async () => {
    // A hub with little patience, which would be too little for a real node on a busy machine.
    await system.kill('SIGTERM');
    await system.start({
      PATH: gates.path,
      SENDENSE_NODE_REQUEST_TIMEOUT_MS: '2000',
      SENDENSE_STALL_AFTER_SECONDS: '1',
      SENDENSE_FAIL_AFTER_SILENT_SECONDS: '3',
    });
    nodeId = 'fake-node';
    server = createServer((request, response) => {
      const given = answer(request.url ?? '');
      if (given === null) return;
      const token = readFileSync(join(system.dataDirectory, 'node.token'), 'utf8').trim();
      response.writeHead(given.status, { 'content-type': 'application/json', ...proofOf(request, token, given.status, given.body) }).end(given.body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    // The port is there by now.
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    answer = wellBehaved;
    expect((await system.api('POST', '/nodes', { name: 'fake', url })).status).toBe(201);
    await client.registerVm('far away', '/somewhere/vm', nodeId);
  });

  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  function wellBehaved(path: string): { status: number; body: string } {
    if (path.includes('/health')) return json({ status: 'ok', node_id: nodeId, version: '0.1.0', time: '2026-11-21T10:00:00.000Z', active_jobs: 0 });
    if (path.includes('/vms')) return json({ vms: [{ name: 'vm', source: 'image', source_ref: '/somewhere/vm', disks: [disk] }] });
    if (path.includes('/settle')) return json({ settled: true });
    return { status: 404, body: JSON.stringify({ code: 'job_not_found', detail: 'no such job' }) };
  }

  const disk = {
    disk_id: 0,
    disk_key: 'disk0.qcow2',
    size_bytes: 1048576,
    format: 'qcow2',
    path: '/somewhere/vm/disk0.qcow2',
    change_tracking: true,
    change_ids: [],
    broken_change_ids: [],
    problem: null,
  };

  function json(body: object): { status: number; body: string } {
    return { status: 200, body: JSON.stringify(body) };
  }

  it.each([
    ['does not answer', () => null, 504, 'node_silent'],
    ['answers nonsense', () => ({ status: 200, body: '<html>hello</html>' }), 502, 'node_broken_answer'],
    ['answers JSON that is no list of VMs', () => json({ vms: [{ name: 7 }] }), 502, 'node_broken_answer'],
    ['breaks', () => ({ status: 500, body: '{}' }), 502, 'node_broken_answer'],
    ['refuses the token', () => ({ status: 401, body: '{}' }), 502, 'node_refused_token'],
  ])('that %s is named with its address, and no backup begins', async (_what, given, status, code) => {
    const before = await filesBelow(system.repositoryPath);
    answer = given;
    const problem = await client.refused('far away', repository, 'full');
    answer = wellBehaved;
    expect(problem).toMatchObject({ status, code, detail: expect.stringContaining(url) });
    expect(await filesBelow(system.repositoryPath)).toEqual(before);
  });

  it('that falls silent once the exports are ready is waited for, then given up, and everything is undone', async () => {
    const before = await filesBelow(system.repositoryPath);
    answer = (path) => (path.includes('/backup/start') ? null : wellBehaved(path));
    const { backup_id } = await client.started('far away', repository, 'full');
    await until('the backup to be stalled', async () => (await client.get(backup_id)).current_phase === 'stalled');
    expect(await client.atRest(backup_id)).toMatchObject({
      status: 'failed',
      error: { code: 'node_silent', stage: 'snapshot', detail: expect.stringContaining(url) },
    });
    expect(Object.keys(await filesBelow(system.repositoryPath))).toEqual(Object.keys(before));
  });

  it('that is not there is named with its address', async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    expect(await client.refused('far away', repository, 'full')).toMatchObject({ status: 503, code: 'node_unreachable', detail: expect.stringContaining(url) });
    expect(await client.problem('POST', `/nodes/${nodeId}/discover`)).toMatchObject({ status: 503, code: 'node_unreachable' });
    expect(await client.problem('POST', '/nodes', { name: 'nobody', url })).toMatchObject({ status: 503, code: 'node_unreachable' });
  });
});

describe('the log of the hub', () => {
  it('tells of the failures with their cause and correlation, and holds no secret', async () => {
    const lines = system
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const failures = lines.filter(({ message }) => message === 'backup failed');
    expect(failures.length).toBeGreaterThan(0);
    for (const line of failures)
      expect(line).toMatchObject({ level: 'warn', backup_id: expect.any(String), correlation_id: expect.any(String), code: expect.any(String) });
    for (const file of ['api.token', 'node.token']) {
      expect(system.log()).not.toContain((await readFile(join(system.dataDirectory, file), 'utf8')).trim());
    }
  });
});
