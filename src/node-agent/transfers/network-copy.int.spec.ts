import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { BadNetwork } from '../../../test/support/bad-network.js';
import { freePortRange } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { mountSmallFileSystem } from '../../../test/support/small-file-system.js';
import { nbdUri } from '../../platform/nbd/nbd-uri.js';
import { PortProbe } from '../../platform/nbd/port-probe.js';
import { ShellProcessSupervisor } from '../../platform/process/shell-process-supervisor.js';
import { networkCopy } from './transfer.plan.js';

jest.setTimeout(240_000);
const { it } = requireTools('bash', 'qemu-img', 'qemu-io', 'qemu-nbd', 'nbdcopy', 'nbdkit');
const run = promisify(execFile);

const MIB = 1024 * 1024;
const DISK_MIB = 128;
const script = fileURLToPath(new URL('./with-server.sh', import.meta.url));
const tuning = { connections: 4, requests: 64, requestSize: 262_144, targetsAreLocal: false };

let folder: string;
let supervisor: ShellProcessSupervisor;
let targetPort: number;
let networkPort: number;
let network: BadNetwork;
let started: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-network-copy-'));
  supervisor = new ShellProcessSupervisor();
  targetPort = await freePortRange(2);
  networkPort = targetPort + 1;
  started = [];
  await run('dd', ['if=/dev/urandom', `of=${join(folder, 'source.raw')}`, 'bs=1M', `count=${DISK_MIB}`, 'status=none']);
  await serve('source', ['-r', '-f', 'raw', '-k', join(folder, 'source'), join(folder, 'source.raw')]);
  network = await BadNetwork.between({ host: '127.0.0.1', port: networkPort }, { host: '127.0.0.1', port: targetPort }, 4);
});

afterEach(async () => {
  for (const directory of started) await supervisor.stop(directory, 2_000);
  await network.destroy();
  await rm(folder, { recursive: true, force: true });
});

async function serve(name: string, args: readonly string[]): Promise<void> {
  const directory = join(folder, `run-${name}`);
  started.push(directory);
  await supervisor.start(directory, ['qemu-nbd', '--persistent', '--shared=20', ...args]);
}

async function serveTarget(file: string): Promise<void> {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', file, `${DISK_MIB}M`]);
  await serve('target', ['-f', 'qcow2', '-b', '127.0.0.1', '-p', String(targetPort), '-x', 'disk', file]);
  const probe = new PortProbe();
  await until('the target', async () => !(await probe.isFree('127.0.0.1', targetPort)));
}

async function stopTarget(): Promise<void> {
  await supervisor.stop(join(folder, 'run-target'), 5_000);
}

/** @returns the run directory of the copy */
async function copy(extents: string | null, patienceSeconds: number): Promise<string> {
  const directory = join(folder, 'run-copy');
  started.push(directory);
  const ride = { script, sockets: folder, patienceSeconds };
  const target = nbdUri({ host: '127.0.0.1', port: networkPort }, 'disk');
  const { argv } = networkCopy(nbdUri({ socket: join(folder, 'source') }, ''), extents, target, tuning, ride, null);
  await supervisor.start(directory, argv, { captureFd3: true });
  return directory;
}

async function carried(mib: number): Promise<void> {
  await until(`${mib} MiB to have arrived`, () => Promise.resolve(network.bytesCarried > mib * MIB));
}

it('goes on where it was after its connections were cut, again and again', async () => {
  await serveTarget(join(folder, 'target.qcow2'));
  const directory = await copy(null, 60);
  await carried(40);
  network.breakConnections();
  await carried(80);
  // Silence, and then a break: what a link does that is down for a while.
  network.fallSilent();
  network.breakConnections();
  network.recover();
  expect(await supervisor.waitForExit(directory)).toMatchObject({ exitCode: 0 });
  await stopTarget();
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', join(folder, 'source.raw'), join(folder, 'target.qcow2')]);
  // What was under way at each break is sent again: at most a request for each of the connections.
  expect(network.bytesCarried / MIB).toBeLessThan(DISK_MIB + 2 * 16 + 8);
});

it('of what has changed sends no more than that', async () => {
  const extents = join(folder, 'extents');
  await writeFile(extents, `${16 * MIB} ${20 * MIB}\n${90 * MIB} 65536\n`);
  await serveTarget(join(folder, 'target.qcow2'));
  const directory = await copy(extents, 60);
  await carried(5);
  network.breakConnections();
  expect(await supervisor.waitForExit(directory)).toMatchObject({ exitCode: 0 });
  expect(network.bytesCarried / MIB).toBeLessThan(24);
  await stopTarget();
  const { stdout } = await run('qemu-io', [
    '-r',
    '-f',
    'qcow2',
    '-c',
    `read -P 0 0 ${16 * MIB}`,
    '-c',
    `read -P 0 ${91 * MIB} ${MIB}`,
    join(folder, 'target.qcow2'),
  ]);
  expect(stdout).not.toMatch(/Pattern verification failed/);
});

it('ends when its patience is at an end', async () => {
  await serveTarget(join(folder, 'target.qcow2'));
  const directory = await copy(null, 2);
  await carried(20);
  await network.destroy();
  const { exitCode, stderr } = await supervisor.waitForExit(directory);
  expect(exitCode).not.toBe(0);
  expect(stderr).toMatch(/nbdcopy: .* (Input\/output error|failed)/);
});

it('ends at once when the target is full, whatever its patience', async () => {
  const small = await mountSmallFileSystem(join(folder, 'small'), 32);
  if (small === null) return;
  try {
    await serveTarget(join(folder, 'small', 'target.qcow2'));
    const directory = await copy(null, 86_400);
    const { exitCode, stderr } = await supervisor.waitForExit(directory);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/writing to the target: No space left on device/);
    for (const one of started) await supervisor.stop(one, 2_000);
  } finally {
    await small.remove();
  }
});

it('leaves no server behind when it is killed', async () => {
  await serveTarget(join(folder, 'target.qcow2'));
  const directory = await copy(null, 60);
  await carried(10);
  const server = Number(await readFile(join(folder, 'target.pid'), 'utf8'));
  await supervisor.stop(directory, 0);
  await until('the server to be gone', async () => (await readFile(`/proc/${server}/cmdline`, 'utf8').catch(() => '')) === '');
});
