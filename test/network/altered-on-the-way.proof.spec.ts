import { open, rename, stat } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import { tunnelSocket } from '../../src/tunnel/interface/tunnel-sockets.js';
import { BackupClient, type BackupType } from '../support/backup-client.js';
import { until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireCondition, requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';
import { TwoHosts } from '../support/two-hosts.js';

jest.setTimeout(400_000);
process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const MIB = 1024 * 1024;
const root = requireCondition(process.getuid?.() === 0, 'network namespaces can be made by root only');
const tools = requireTools('ip', 'ssh', 'sshd', 'setpriv', 'qemu-img', 'qemu-nbd', 'qemu-io', 'nbdinfo');
const { describe, it } = root.skipped === null ? tools : root;

let database: TestDatabase;
let hosts: TwoHosts;
let gates: ToolGates;
let client: BackupClient;
let repository: string;
let vm: ImageVm;

beforeAll(async () => {
  if (root.skipped !== null || tools.skipped !== null) return;
  database = await createTestDatabase({ migrated: false });
  hosts = await TwoHosts.create(database.databaseUrl, {}, { SENDENSE_NETWORK_PATIENCE_SECONDS: '5' });
  gates = await ToolGates.create(join(hosts.hub.directory, 'gates'));
  await hosts.hub.launch({ PATH: gates.path });
  await hosts.startTunnelServer();
  await hosts.enrol('far');
  client = new BackupClient(hosts.hub);
  repository = await client.createRepository('here', hosts.hub.repositoryPath);
  vm = await ImageVm.create(join(hosts.nodeImages, 'web1'), [
    { file: 'disk0.qcow2', mib: 64, dataMib: 16 },
    { file: 'disk1.qcow2', mib: 8, dataMib: 1 },
  ]);
  await client.registerVm('web1', vm.folder, hosts.nodeId);
});

afterAll(async () => {
  if (root.skipped !== null || tools.skipped !== null) return;
  await hosts.destroy();
  await database.drop();
});

/** Flips one bit of the first disk's file at the hub, in a cluster that has arrived already, while the rest is still copied. */
async function altered(type: BackupType, arrivedMib: number): Promise<BackupResponse> {
  const request = { vm_name: 'web1', repository_id: repository, backup_type: type, bandwidth_limit_bps: 2 * MIB };
  const { status, body } = await hosts.hub.api<BackupResponse>('POST', '/backups', request);
  expect({ status, body }).toMatchObject({ status: 202 });
  const path = body.disk_results[0]?.qcow2_path ?? '';
  await until('a part to be stored', async () => (await stat(path)).blocks * 512 > arrivedMib * MIB);
  const file = await open(path, 'r+');
  try {
    // The disk's content is random, so that a sector of zeroes is one of the file's tables.
    for (let at = MIB; ; at += 4096) {
      const { buffer } = await file.read(Buffer.alloc(512), 0, 512, at);
      if (buffer.filter((byte) => byte === 0).length > 100) continue;
      buffer[7] = (buffer[7] ?? 0) ^ 1;
      await file.write(buffer, 0, 512, at);
      break;
    }
  } finally {
    await file.close();
  }
  return client.atRest(body.backup_id);
}

/** A proxy between the node's copies and the tunnel, where the tunnel's account could put one. It flips a bit in the traffic of one direction. */
class ManInTheMiddle {
  altered = 0;
  private readonly servers: Server[] = [];

  /** From the next connection on. @param passBytes that each connection may send before something is altered */
  async stand(port: number, direction: 'to the hub' | 'to the node', passBytes: number): Promise<void> {
    const path = tunnelSocket(join(hosts.nodeDirectory, 'data', 'tunnel'), port);
    await rename(path, `${path}.real`);
    const server = createServer((client) => {
      const hub = connect(`${path}.real`);
      for (const socket of [client, hub]) socket.on('error', () => undefined);
      const [from, to] = direction === 'to the hub' ? [client, hub] : [hub, client];
      let sent = 0;
      client.on('data', (bytes) => (sent += bytes.length));
      from.on('data', (bytes: Buffer) => {
        if (sent > passBytes) {
          const at = bytes.length - 1;
          bytes[at] = (bytes[at] ?? 0) ^ 1;
          this.altered += 1;
        }
        to.write(bytes);
      });
      to.pipe(from);
      for (const [one, other] of [
        [client, hub],
        [hub, client],
      ] as const)
        one.on('close', () => other.destroy());
    });
    await new Promise<void>((done) => server.listen(path, done));
    this.servers.push(server);
  }

  /** The real sockets are the tunnel's again. */
  async leave(port: number): Promise<void> {
    const path = tunnelSocket(join(hosts.nodeDirectory, 'data', 'tunnel'), port);
    for (const server of this.servers.splice(0)) server.close();
    await rename(`${path}.real`, path);
  }
}

async function requireRefused(backup: BackupResponse): Promise<void> {
  expect({ status: backup.status, error: backup.error }).toMatchObject({
    status: 'failed',
    error: { stage: 'sealing', code: 'content_differs', detail: expect.stringContaining('"disk0.qcow2"') },
  });
  expect(await client.eventTypes(backup.backup_id)).toEqual(expect.arrayContaining(['BackupFailed', 'BackupUndone', 'ChangeTrackingSettled']));
  expect(await client.eventTypes(backup.backup_id)).not.toContain('RestorePointSealed');
  await client.requireNothingHeld();
}

async function requireRestorable(backup: BackupResponse): Promise<void> {
  expect({ status: backup.status, error: backup.error }).toEqual({ status: 'completed', error: null });
  const copies = await vm.copyTo(join(hosts.hub.directory, 'copies'));
  for (const disk of backup.disk_results) await requireSameContent(copies.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
}

async function digests(backup: BackupResponse): Promise<readonly unknown[]> {
  const events = await client.events(backup.backup_id);
  return events.filter(({ type }) => type === 'DiskTransferCompleted').map(({ data }) => data['content_digest']);
}

describe('a backup whose traffic is altered between the node and the tunnel', () => {
  it.each(['to the hub', 'to the node'] as const)('on the way %s fails with its cause, and nothing of it is stored', async (direction) => {
    const man = new ManInTheMiddle();
    const ports = (await client.ports('free')).map(({ port }) => port);
    // Behind the handshake, so that each connection stands at first.
    for (const port of ports) await man.stand(port, direction, 200_000);
    try {
      const backup = await client.atRest((await client.started('web1', repository, 'full')).backup_id);
      expect(man.altered).toBeGreaterThan(0);
      expect({ status: backup.status, error: backup.error }).toMatchObject({
        status: 'failed',
        error: {
          stage: 'transfer',
          code: 'transfer_failed',
          detail: expect.stringMatching(/each connection to it broke: .*(bad record mac|closed|reset|EPIPE)/i),
        },
      });
      expect(await client.eventTypes(backup.backup_id)).not.toContain('RestorePointSealed');
      await client.requireNothingHeld();
    } finally {
      for (const port of ports) await man.leave(port);
    }
  });
});

describe('a backup whose file was altered while it was copied', () => {
  let full: BackupResponse;

  it('fails with its cause, and the next full is right', async () => {
    await requireRefused(await altered('full', 4));
    full = await client.backUp('web1', repository, 'full');
    await requireRestorable(full);
    expect(await digests(full)).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/^[0-9a-f]{64}$/)]);
  });

  it('leaves the chain as it was when it is an incremental, and the next one goes on from the same restore point', async () => {
    await vm.write('disk0.qcow2', 24 * MIB, 8 * MIB);
    await requireRefused(await altered('incremental', 3));
    const next = await client.backUp('web1', repository, 'incremental');
    expect(next).toMatchObject({ backup_type: 'incremental', parent_backup_id: full.backup_id });
    await requireRestorable(next);
    const empty = await client.backUp('web1', repository, 'incremental');
    await requireRestorable(empty);
    expect(await digests(empty)).toEqual(['0'.repeat(64), '0'.repeat(64)]);
  });

  it('is compared by a hub that was killed before it could, which asks the node for the keys again; none of them is stored or logged', async () => {
    await vm.write('disk0.qcow2', 40 * MIB, MIB);
    const gate = await gates.hold('qemu-img', 'check');
    const { backup_id } = await client.started('web1', repository, 'incremental');
    await gate.reached();
    await until('the node to have released its source', async () => (await client.eventTypes(backup_id)).includes('SnapshotReleased'));
    await hosts.hub.kill('SIGKILL');
    await gate.open();
    await hosts.kill('node', 'SIGKILL');
    await hosts.hub.launch({ PATH: gates.path });
    await until('the hub to miss the node', async () => (await hosts.node()).state === 'unreachable');
    expect((await client.get(backup_id)).status).toBe('running');
    hosts.startNode();
    const backup = await client.atRest(backup_id);
    await requireRestorable(backup);
    expect(JSON.stringify(await client.events(backup_id))).not.toContain('"key"');
    expect(hosts.hub.log()).not.toMatch(/"key":"[0-9a-f]{64}"/);
  });
});
