import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { BackupClient, filesBelow } from '../support/backup-client.js';
import { until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireCondition, requireTools } from '../support/require-tools.js';
import { seeded } from '../support/seeded.js';
import { mountSmallFileSystem } from '../support/small-file-system.js';
import { TwoHosts } from '../support/two-hosts.js';

jest.setTimeout(400_000);
process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const MIB = 1024 * 1024;
const root = requireCondition(process.getuid?.() === 0, 'network namespaces can be made by root only');
const tools = requireTools('ip', 'ssh', 'sshd', 'setpriv', 'qemu-img', 'qemu-nbd', 'qemu-io', 'nbdinfo');
const { describe, it } = root.skipped === null ? tools : root;

let database: TestDatabase;
let hosts: TwoHosts;
let client: BackupClient;
let repository: string;
let vm: ImageVm;
const DATA_MIB = 48;

beforeAll(async () => {
  if (root.skipped !== null || tools.skipped !== null) return;
  database = await createTestDatabase({ migrated: false });
  hosts = await TwoHosts.create(database.databaseUrl, { SENDENSE_STALL_AFTER_SECONDS: '5' });
  await hosts.hub.launch();
  await hosts.startTunnelServer();
  await hosts.enrol('far');
  client = new BackupClient(hosts.hub);
  repository = await client.createRepository('here', hosts.hub.repositoryPath);
  vm = await ImageVm.create(join(hosts.nodeImages, 'web1'), [
    { file: 'disk0.qcow2', mib: 256, dataMib: DATA_MIB },
    { file: 'disk1.qcow2', mib: 64, dataMib: 4 },
  ]);
  await client.registerVm('web1', vm.folder, hosts.nodeId);
});

afterAll(async () => {
  if (root.skipped !== null || tools.skipped !== null) return;
  await hosts.destroy();
  await database.drop();
});

/** A backup of web1 that takes its time, once a good part of it has been copied. */
async function underWay(repositoryId = repository, type = 'full', bytesPerSecond = 6 * MIB): Promise<BackupResponse> {
  const request = { vm_name: 'web1', repository_id: repositoryId, backup_type: type, bandwidth_limit_bps: bytesPerSecond };
  const { status, body } = await hosts.hub.api<BackupResponse>('POST', '/backups', request);
  expect({ status, body }).toMatchObject({ status: 202 });
  await until('a part to be copied', async () => (await client.get(body.backup_id)).bytes_transferred > 8 * MIB);
  return body;
}

async function requireRestorable(backup: BackupResponse): Promise<void> {
  expect({ status: backup.status, error: backup.error }).toEqual({ status: 'completed', error: null });
  const copies = await vm.copyTo(join(hosts.hub.directory, 'copies'));
  for (const disk of backup.disk_results) await requireSameContent(copies.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
}

async function requireNothingHeld(): Promise<void> {
  await client.requireNothingHeld();
  await until('the node to hold nothing', async () => (await hosts.heldOnNode()).length === 0).catch(() => undefined);
  expect(await hosts.heldOnNode()).toEqual([]);
}

describe('a node behind a network', () => {
  it('is backed up through its tunnel, which breaks again and again, and tells of it', async () => {
    const random = seeded(5);
    const backUp = async (type: 'full' | 'incremental', mib: number): Promise<BackupResponse> => {
      const before = hosts.way.bytesCarried;
      const backup = client.backUp('web1', repository, type);
      for (const part of [random() / 2, 0.5 + random() / 3]) {
        await Promise.race([backup, until('a part to be copied', () => Promise.resolve(hosts.way.bytesCarried - before > part * mib * MIB), 120_000)]);
        hosts.way.breakConnections();
      }
      return backup;
    };
    await requireRestorable(await backUp('full', DATA_MIB));
    await vm.write('disk0.qcow2', 100 * MIB, MIB);
    const incremental = await backUp('incremental', 1);
    await requireRestorable(incremental);
    expect(incremental.bytes_transferred).toBeLessThan(4 * MIB);
    const up = await until('the hub to be told', async () => (((await hosts.node()).tunnel?.state ?? '') === 'up' ? hosts.node() : null));
    expect(up.tunnel).toMatchObject({ cause: null, connections: { wanted: 2, up: 2 } });
    await requireNothingHeld();
  });

  it('goes on where it was after the cable was out until both ends had given up', async () => {
    const before = await hosts.bytesFromNode();
    const { backup_id } = await underWay();
    const known = (await hosts.transitions()).length;
    await hosts.pullCable();
    const down = await until('the tunnel to be down', async () => (await hosts.transitions()).slice(known).find(({ state }) => state === 'down'), 120_000);
    await until('the hub to see it', async () => (await hosts.node()).state === 'unreachable');
    expect((await hosts.node()).tunnel).toMatchObject({ state: 'unknown', connections: { wanted: 2, up: 0 } });
    await hosts.plugCable();
    const backup = await client.atRest(backup_id);
    await requireRestorable(backup);
    expect((await client.eventTypes(backup_id)).filter((type) => type === 'TransferStalled').length).toBeGreaterThan(0);
    // Each disk once, and what was under way twice; had it started over there would be 8 MiB more at least.
    expect(((await hosts.bytesFromNode()) - before) / MIB).toBeLessThan((DATA_MIB + 5) * 1.06 + 4);
    const change = await until('the hub to record that the connection is down', async () => {
      const { body } = await hosts.hub.api<{ events: { type: string; data: { number?: number; state?: string } }[] }>(
        'GET',
        `/audit/streams/node-${hosts.nodeId}?limit=200`,
      );
      return body.events.find(({ type, data }) => type === 'NodeTunnelChanged' && data.number === down.number);
    });
    expect(change.data.state).toBe('down');
    await requireNothingHeld();
  });

  // Two deployed hosts have it in every run.
  it('outlasts the restart of the hub, of the tunnel server and of its own programs in mid-transfer', async () => {
    const { backup_id } = await underWay(repository, 'full', 4 * MIB);
    await hosts.hub.kill('SIGKILL');
    await hosts.hub.launch();
    await hosts.kill('tunnel-server', 'SIGKILL');
    await hosts.startTunnelServer();
    await hosts.kill('tunnel', 'SIGKILL');
    hosts.startTunnel();
    await hosts.kill('node', 'SIGKILL');
    hosts.startNode();
    await requireRestorable(await client.atRest(backup_id));
    await requireNothingHeld();
  });

  it('fails with the truth when it is away for too long, and the next run is right', async () => {
    await hosts.hub.kill('SIGTERM');
    await hosts.hub.launch({ SENDENSE_STALL_AFTER_SECONDS: '2', SENDENSE_FAIL_AFTER_SILENT_SECONDS: '6' });
    await hosts.reachable();
    const { backup_id } = await underWay();
    await hosts.pullCable();
    const failed = await until('the backup to fail', async () => {
      const backup = await client.get(backup_id);
      return backup.status === 'failed' ? backup : null;
    });
    expect(failed.error).toMatchObject({ code: expect.stringMatching(/node|silent/) });
    await hosts.plugCable();
    await client.atRest(backup_id);
    await hosts.hub.kill('SIGTERM');
    await hosts.hub.launch();
    await hosts.reachable();
    await requireNothingHeld();
    await requireRestorable(await client.backUp('web1', repository, 'auto'));
    await requireNothingHeld();
  });

  it('ends at once when the repository is full, and leaves nothing in it', async () => {
    const small = await mountSmallFileSystem(join(hosts.hub.directory, 'small'), 32);
    if (small === null) return;
    try {
      const full = await client.createRepository('small', small.path);
      const before = await filesBelow(small.path);
      const { backup_id } = await client.started('web1', full, 'full');
      const backup = await client.atRest(backup_id);
      expect({ status: backup.status, code: backup.error?.code }).toEqual({ status: 'failed', code: 'repository_full' });
      expect(Object.keys(await filesBelow(small.path))).toEqual(Object.keys(before));
      await requireNothingHeld();
    } finally {
      await small.remove();
    }
  });

  it('leaves nothing behind when its programs end', async () => {
    await hosts.kill('tunnel', 'SIGTERM');
    await hosts.kill('node', 'SIGTERM');
    await until('the hub to notice', async () => (await hosts.node()).state === 'unreachable');
    expect((await hosts.transitions()).at(-1)).toMatchObject({ state: 'down', cause: { code: 'stopped' } });
    expect(await hosts.listening()).toEqual([]);
  });
});
