import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { BackupResponse } from '../../src/hub/backup/backups/model/backup.response.js';
import type { NodeResponse } from '../../src/hub/nodes/nodes/model/node.response.js';
import type { RegisteredNodeDto } from '../../src/hub/nodes/nodes/register-node/register-node.dto.js';
import { exportKeyFile, writeKeyFile } from '../../src/hub/exports/nbd-servers/export-access.js';
import { keyInPskFile, type NbdAddress, nbdUri } from '../../src/lib/nbd/nbd-uri.js';
import { tunnelSocket } from '../../src/tunnel/interface/tunnel-sockets.js';
import { BackupClient } from '../support/backup-client.js';
import { EnrolledNode, enrolmentSettings, type EnrolOutcome, type RunningProgram, startTunnelServer } from '../support/enrolled-node.js';
import { HubSystem, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';

jest.setTimeout(240_000);
const run = promisify(execFile);
const { describe, it } = requireTools('ssh', 'sshd', 'ssh-keygen', 'qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo', 'setpriv');

/** An account that has no rights anywhere. Only root can become it; without root the attempts are made under the account of the programs themselves, where a file mode keeps nobody out. */
const STRANGER = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
const IS_ROOT = process.getuid?.() === 0;
const STRANGERS = 40;

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let server: RunningProgram;
let repository: string;
let owner: EnrolledNode;
let other: EnrolledNode;
let foreignKey: string;
let gates: ToolGates;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  system = await HubSystem.create({ databaseUrl: database.databaseUrl, env: await enrolmentSettings() });
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.start({ PATH: gates.path });
  client = new BackupClient(system);
  repository = await client.createRepository('here', system.repositoryPath);
  server = await startTunnelServer(system);
  owner = await enrolled('owner', '127.0.0.2');
  other = await enrolled('other', '127.0.0.3');
  foreignKey = join(system.directory, 'foreign.psk');
  await writeKeyFile(foreignKey, 'cd'.repeat(32));
  if (IS_ROOT) await run('chown', ['65534:65534', foreignKey]);
});

afterAll(async () => {
  await owner.stop();
  await other.stop();
  await server.stop();
  await system.destroy();
  await database.drop();
});

async function enrolled(name: string, localHost: string): Promise<EnrolledNode> {
  const node = await EnrolledNode.create(system, name, localHost);
  const { body } = await system.api<RegisteredNodeDto>('POST', '/nodes', { name });
  const { stdout } = await node.enrol(body.pairing_code ?? '');
  const { public_key_fingerprint } = JSON.parse(stdout) as EnrolOutcome;
  expect((await system.api('POST', `/nodes/${body.node_id}/approve`, { public_key_fingerprint })).status).toBe(200);
  node.start();
  await until(`node ${name}`, async () => (await nodeNamed(name)).state === 'reachable', 120_000);
  return node;
}

async function nodeNamed(name: string): Promise<NodeResponse> {
  const found = (await system.api<{ nodes: NodeResponse[] }>('GET', '/nodes')).body.nodes.find((node) => node.name === name);
  if (found === undefined) throw new Error(`there is no node ${name}`);
  return found;
}

/** What a program without rights, or one with rights on another node, can do with an export whose address it knows. */
async function attempts(address: NbdAddress, name: string, asStranger: boolean): Promise<void> {
  const as = asStranger && IS_ROOT ? ['setpriv', ...STRANGER] : [];
  const tries = [address, { ...address, keyFile: foreignKey }].flatMap((one) => [
    ['nbdinfo', '--size', nbdUri(one, name)],
    ['nbdinfo', '--list', nbdUri(one, '')],
    ['nbdcopy', nbdUri(one, name), 'null:'],
  ]);
  const plain = nbdUri(address, name);
  for (const argv of [...tries, ['qemu-io', '-f', 'raw', '-c', 'read 0 512', plain], ['qemu-io', '-f', 'raw', '-c', 'write -P 0x66 0 512', plain]]) {
    const [file = '', ...rest] = [...as, 'timeout', '20', ...argv];
    await expect(run(file, rest)).rejects.toThrow(/Permission denied|TLS|not supported|refused|terminated|Failed/i);
  }
}

/** Connections that are made, and say nothing. */
async function strangersAt(port: number): Promise<readonly Socket[]> {
  const sockets = Array.from({ length: STRANGERS }, () => connect({ host: '127.0.0.1', port }));
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.on('error', () => undefined);
          socket.once('data', () => resolve());
        }),
    ),
  );
  return sockets;
}

describe('a backup through the tunnel', () => {
  it('can be read, written and held up by its own node alone', async () => {
    const vm = await ImageVm.create(join(system.imageRoot, 'far'), [{ file: 'disk0.qcow2', mib: 4 }]);
    const copy = (await vm.copyTo(join(system.directory, 'copy-far'))).get('disk0.qcow2') ?? '';
    await client.registerVm('far', vm.folder, (await nodeNamed('owner')).node_id);
    const slowly = { vm_name: 'far', repository_id: repository, backup_type: 'full', bandwidth_limit_bps: 200_000 };
    const backup = (await system.api<BackupResponse>('POST', '/backups', slowly)).body;
    const [disk] = backup.disk_results;
    const port = disk?.nbd_port ?? 0;
    const name = disk?.nbd_export_name ?? '';
    expect(backup.nbd_targets_string).toBe(`disk0.qcow2:nbds://127.0.0.1:${port}/${name}`);
    await until('the transfer to be under way', async () => (await client.eventTypes(backup.backup_id)).includes('SnapshotTaken'));

    const strangers = await strangersAt(port);
    await attempts({ host: '127.0.0.1', port }, name, true);
    // At the node, and with the key of another node, which may reach the port through its own tunnel.
    await attempts({ socket: tunnelSocket(join(owner.dataDirectory, 'tunnel'), port) }, name, true);
    await attempts({ socket: tunnelSocket(join(other.dataDirectory, 'tunnel'), port) }, name, false);

    const { processes } = (await system.api<{ processes: Record<string, unknown>[] }>('GET', '/nbd/processes')).body;
    expect(processes).toEqual([expect.objectContaining({ port, transport: 'tls', listens_on: `127.0.0.1:${port}`, shared_limit: 0 })]);
    await leaksNowhere(await keyOfOnlyExport(), backup.backup_id);

    const done = await client.atRest(backup.backup_id);
    expect(done.status).toBe('completed');
    for (const stranger of strangers) stranger.destroy();
    await requireSameContent(copy, done.disk_results[0]?.qcow2_path ?? '');
    expect(await readdir(join(system.dataDirectory, 'run', 'export-access'))).toEqual([]);
    await until('the node to forget the job', async () => (await readdir(join(owner.dataDirectory, 'jobs'))).length === 0);
  });
});

async function keyOfOnlyExport(): Promise<string> {
  const [id = ''] = await readdir(join(system.dataDirectory, 'run', 'export-access'));
  return keyInPskFile(await readFile(exportKeyFile(join(system.dataDirectory, 'run'), id), 'utf8'));
}

async function leaksNowhere(key: string, backupId: string): Promise<void> {
  const events = (await system.api<object>('GET', '/audit/events?limit=1000')).body;
  const { stdout: argvs } = await run('ps', ['-eo', 'args'], { maxBuffer: 64 * 1024 * 1024 });
  const journal = await readFile(join(owner.dataDirectory, 'jobs', backupId, 'job.json'), 'utf8');
  const answer = (await system.api<object>('GET', `/backups/${backupId}`)).body;
  for (const text of [JSON.stringify(events), argvs, journal, JSON.stringify(answer), system.log(), await owner.log()]) {
    expect(text.length).toBeGreaterThan(0);
    expect(text).not.toContain(key);
  }
}

describe('a backup beside the hub', () => {
  it('has no port that anybody could connect to, and a socket for its own account', async () => {
    const vm = await ImageVm.create(join(system.imageRoot, 'near'), [{ file: 'disk0.qcow2', mib: 4 }]);
    const copy = (await vm.copyTo(join(system.directory, 'copy-near'))).get('disk0.qcow2') ?? '';
    await client.registerVm('near', vm.folder, (await nodeNamed('local')).node_id);
    const gate = await gates.holdCopies();
    const backup = (await system.api<BackupResponse>('POST', '/backups', { vm_name: 'near', repository_id: repository, backup_type: 'full' })).body;
    await gate.reached();
    const [disk] = backup.disk_results;
    const port = disk?.nbd_port ?? 0;
    await expect(run('nbdinfo', ['--size', nbdUri({ host: '127.0.0.1', port }, disk?.nbd_export_name ?? '')])).rejects.toThrow(/refused/);
    const { processes } = (await system.api<{ processes: { listens_on: string; connections: number }[] }>('GET', '/nbd/processes')).body;
    const socket = processes[0]?.listens_on ?? '';
    if (IS_ROOT) await attempts({ socket }, disk?.nbd_export_name ?? '', true);
    // It is held all the same.
    expect(await client.problem('DELETE', `/nbd/ports/${port}`)).toMatchObject({ status: 409 });
    await gate.open();
    const done = await client.atRest(backup.backup_id);
    await requireSameContent(copy, done.disk_results[0]?.qcow2_path ?? '');
  });
});
