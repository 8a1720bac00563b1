import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import { BackupClient } from '../support/backup-client.js';
import { freePortRange } from '../support/free-ports.js';
import { HubSystem, signalPid, until } from '../support/hub-system.js';
import { ImageVm, requireSameContent } from '../support/image-vm.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { requireTools } from '../support/require-tools.js';
import { ToolGates } from '../support/tool-gates.js';

jest.setTimeout(180_000);
const { describe, it } = requireTools('qemu-img', 'qemu-nbd', 'qemu-io', 'nbdcopy', 'nbdinfo');
const RELOADED = 'configuration reloaded';
const REFUSED = 'configuration refused; the current one stays in effect';
const RESTART = 'changed settings that take effect after a restart';

interface LogRecord {
  readonly message: string;
  readonly changed?: readonly { readonly setting: string; readonly from: unknown; readonly to: unknown }[];
  readonly settings?: readonly string[];
  readonly problems?: readonly string[];
}
interface PoolFigures {
  readonly total: number;
  readonly free: number;
  readonly allocated: number;
  readonly last_port: number;
}

let database: TestDatabase;
let system: HubSystem;
let client: BackupClient;
let gates: ToolGates;
let repository: string;
let node: ChildProcess;
let firstPort: number;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  firstPort = await freePortRange(3);
  system = await HubSystem.create({
    databaseUrl: database.databaseUrl,
    env: {
      SENDENSE_START_LOCAL_NODE: 'false',
      SENDENSE_NODE_REQUEST_TIMEOUT_MS: '60000',
      // Left to the files; what is in the environment would win.
      SENDENSE_NBD_PORT_FIRST: '',
      SENDENSE_NBD_PORT_COUNT: '',
      SENDENSE_LOG_LEVEL: '',
    },
  });
  await writeSettings('hub', `nbd_port_first: ${firstPort}\n`);
  await dropIn('hub', '10-site.yaml', 'max_concurrent_backups: 1\nnbd_port_count: 2\nmount_slots: 2\n');
  gates = await ToolGates.create(join(system.directory, 'gates'));
  await system.launch({ SENDENSE_CONFIG: file('hub'), PATH: gates.path });
  await startNode();
  client = new BackupClient(system);
  repository = await client.createRepository('main', system.repositoryPath);
});

afterAll(async () => {
  const ended = once(node, 'exit');
  node.kill('SIGTERM');
  await ended;
  await system.destroy();
  await database.drop();
});

function file(program: 'hub' | 'node'): string {
  return join(system.directory, program, `${program}.yaml`);
}

async function writeSettings(program: 'hub' | 'node', text: string): Promise<void> {
  await mkdir(join(system.directory, program, 'conf.d'), { recursive: true });
  await writeFile(file(program), text);
}

async function dropIn(program: 'hub' | 'node', name: string, text: string): Promise<void> {
  await writeFile(join(system.directory, program, 'conf.d', name), text);
}

async function startNode(): Promise<void> {
  const data = join(system.directory, 'node-data');
  await writeSettings(
    'node',
    [
      `data_directory: ${data}`,
      'listen_port: 0',
      `hub_url: ${system.url()}`,
      `token_file: ${join(system.dataDirectory, 'node.token')}`,
      `image_roots: [${system.imageRoot}]`,
      'max_parallel_transfers: 1',
      '',
    ].join('\n'),
  );
  const log = openSync(nodeLogFile(), 'a');
  const { NODE_OPTIONS: _options, ...environment } = process.env;
  node = spawn(process.execPath, [resolve(import.meta.dirname, '../../dist/src/node/main.node.js')], {
    env: { ...environment, SENDENSE_CONFIG: file('node'), PATH: gates.path },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const url = await until('the node to listen', () => Promise.resolve(readFileSync(join(data, 'node.url'), 'utf8').trim()));
  expect((await system.api('POST', '/nodes', { name: 'other-machine', url })).status).toBe(201);
}

function nodeLogFile(): string {
  return join(system.directory, 'node.log');
}

function records(log: string): readonly LogRecord[] {
  return log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogRecord);
}

/** Has a program read its files again, and waits until it has said so. @returns all that it has said of this reload */
async function reload(program: 'hub' | 'node'): Promise<readonly LogRecord[]> {
  const log = (): readonly LogRecord[] => records(program === 'hub' ? system.log() : readFileSync(nodeLogFile(), 'utf8'));
  const before = log().length;
  signalPid(program === 'hub' ? system.hubPid : node.pid, 'SIGHUP');
  const said = (): readonly LogRecord[] => log().slice(before);
  await until(`the ${program} to have reloaded`, () => Promise.resolve(said().some(({ message }) => message === RELOADED || message === REFUSED)));
  return said();
}

async function pool(): Promise<PoolFigures> {
  return (await system.api<PoolFigures>('GET', '/nbd/ports/metrics')).body;
}

/** Copies that are held at the gate. */
async function copies(): Promise<readonly string[]> {
  return (await system.toolProcesses()).filter((name) => name.startsWith('main.copy.js'));
}

describe('SIGHUP', () => {
  it('reloads limits, ports and log level of hub and node while transfers run, and the transfers go on', async () => {
    const vms = new Map<string, ImageVm>();
    for (const name of ['one', 'two', 'three']) {
      const vm = await ImageVm.create(join(system.imageRoot, name), [{ file: 'disk0.qcow2', mib: 8, dataMib: 1 }]);
      vms.set(name, vm);
      await client.registerVm(name, vm.folder);
    }
    const gate = await gates.holdCopies();
    const one = await client.started('one', repository, 'full');
    await gate.reached();
    const [held] = await copies();
    const two = await client.started('two', repository, 'full');
    const three = await client.started('three', repository, 'full');
    expect(two).toMatchObject({ status: 'pending', waiting_for: 'backup_limit' });

    // The hub lets in one more, then all, but the third finds no port.
    await dropIn('hub', '20-more.yaml', 'max_concurrent_backups: 2\nlog_level: debug\n');
    expect(await reload('hub')).toContainEqual(
      expect.objectContaining({
        message: RELOADED,
        changed: [
          { setting: 'max_concurrent_backups', from: 1, to: 2 },
          { setting: 'log_level', from: 'info', to: 'debug' },
        ],
      }),
    );
    await until('the second backup to transfer', async () => (await client.get(two.backup_id)).status === 'running');
    await dropIn('hub', '20-more.yaml', 'max_concurrent_backups: 5\nlog_level: debug\n');
    await reload('hub');
    await until('the third backup to wait for a port', async () => (await client.get(three.backup_id)).waiting_for === 'nbd_ports');

    // A mistake: nothing changes, not even what is right in it.
    await dropIn('hub', '30-wrong.yaml', 'nbd_port_count: none\nmount_slots: 5\n');
    const [refusal] = (await reload('hub')).filter(({ message }) => message === REFUSED);
    expect(refusal?.problems).toEqual([
      `nbd_port_count: must be an integer from 1 to 1000, but is "none" (in ${join(system.directory, 'hub', 'conf.d', '30-wrong.yaml')})`,
    ]);
    expect(await pool()).toMatchObject({ total: 2, free: 0, allocated: 2 });
    await rm(join(system.directory, 'hub', 'conf.d', '30-wrong.yaml'));

    // The pool grows, and what only a restart can change is named.
    await dropIn('hub', '20-more.yaml', 'max_concurrent_backups: 5\nnbd_port_count: 3\nlisten_host: 127.0.0.2\n');
    const said = await reload('hub');
    expect(said).toContainEqual(expect.objectContaining({ message: RESTART, settings: ['listen_host'] }));
    // It runs before it is given its port.
    await until('the third backup to have a port', async () => (await pool()).allocated === 3);
    expect(await pool()).toMatchObject({ total: 3, free: 0, allocated: 3, last_port: firstPort + 2 });

    // The node copies one disk after the other, until it is told better.
    expect(await copies()).toEqual([held]);
    await dropIn('node', '10-more.yaml', 'max_parallel_transfers: 3\ntelemetry_interval_ms: 100\nlisten_port: 1\n');
    const saidByNode = await reload('node');
    expect(saidByNode.find(({ message }) => message === RELOADED)?.changed?.map(({ setting }) => setting)).toEqual([
      'max_parallel_transfers',
      'telemetry_interval_ms',
    ]);
    expect(saidByNode).toContainEqual(expect.objectContaining({ message: RESTART, settings: ['listen_port'] }));
    await until('all disks to be copied at once', async () => (await copies()).length === 3);
    expect(await copies()).toContain(held);

    // The pool shrinks: ports that serve a disk stay with it until it is through.
    await dropIn('hub', '20-more.yaml', 'max_concurrent_backups: 5\nnbd_port_count: 1\n');
    await reload('hub');
    expect(await pool()).toMatchObject({ total: 3, free: 0, allocated: 3, last_port: firstPort });
    await gate.open();
    for (const [name, { backup_id }] of [
      ['one', one],
      ['two', two],
      ['three', three],
    ] as const) {
      const ended = await client.atRest(backup_id);
      expect(ended).toMatchObject({ status: 'completed', error: null });
      const copies = await vms.get(name)?.copyTo(join(system.directory, 'copies'));
      for (const disk of ended.disk_results) await requireSameContent(copies?.get(disk.disk_key) ?? '', disk.qcow2_path ?? '');
    }
    await until('the pool to be as configured', async () => (await pool()).total === 1);
    expect(await client.backUp('three', repository, 'incremental')).toMatchObject({ status: 'completed', disk_results: [{ nbd_port: firstPort }] });
    await client.requireNothingHeld();
  });
});
