import { execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { BadNetwork } from '../../../test/support/bad-network.js';
import { freePortRange, isServed } from '../../../test/support/free-ports.js';
import { until } from '../../../test/support/hub-system.js';
import { requireTools } from '../../../test/support/require-tools.js';
import { seeded } from '../../../test/support/seeded.js';
import { mountSmallFileSystem } from '../../../test/support/small-file-system.js';
import { nbdUri } from '../../lib/nbd/nbd-uri.js';
import type { KeyedDigest } from '../../contract/content-digest.js';
import { FileHasher } from '../../storage/hashing/file-hasher.js';
import { ShellProcessSupervisor } from '../../lib/process/shell-process-supervisor.js';
import { type Extent, extentListText, progressFraction } from '../model/extents.plan.js';
import { networkCopy, rateText } from './transfer.plan.js';

jest.setTimeout(240_000);
const { it } = requireTools('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdkit');
/** A tool that hangs is named by its test's failure. */
const LONGEST_MS = 90_000;
const execute = promisify(execFile);
const run = (file: string, args: readonly string[]): Promise<{ stdout: string }> => execute(file, args, { timeout: LONGEST_MS });

const MIB = 1024 * 1024;
const BLOCK = 65_536;
const DISK_MIB = 64;
const WHOLE: readonly Extent[] = [{ offset: 0, length: DISK_MIB * MIB }];
const fromRoot = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const program = [process.execPath, '--import', fromRoot('test/bench/typescript.mjs'), fromRoot('src/node/main.copy.ts')] as const;

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

/** Prepares the source and the route to the target. */
async function prepare(roundTripMs: number | (() => number)): Promise<void> {
  await serve('source', ['-r', '-f', 'raw', '-k', join(folder, 'source'), join(folder, 'source.raw')]);
  network = await BadNetwork.between({ host: '127.0.0.1', port: networkPort }, { host: '127.0.0.1', port: targetPort }, roundTripMs);
}

async function serveTarget(file: string): Promise<void> {
  await serve('target', ['-f', 'qcow2', '-b', '127.0.0.1', '-p', String(targetPort), '-x', 'disk', '--discard=unmap', file]);
  await until('the target', () => isServed(targetPort));
}

async function newTarget(name: string, parent: string | null = null): Promise<string> {
  const file = join(folder, name);
  const backing = parent === null ? [] : ['-b', parent, '-F', 'qcow2'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, file, `${DISK_MIB}M`]);
  return file;
}

async function stopServer(name: string): Promise<void> {
  await supervisor.stop(join(folder, `run-${name}`), 5_000);
  await rm(join(folder, `run-${name}`), { recursive: true, force: true });
}

interface HowToCopy {
  readonly onto?: 'new' | 'parent';
  readonly patienceSeconds?: number;
  readonly bytesPerSecond?: number;
}

/** @throws AbortError if the process has not ended in time */
const exitOf = (directory: string): ReturnType<ShellProcessSupervisor['waitForExit']> => supervisor.waitForExit(directory, AbortSignal.timeout(LONGEST_MS));

/** @returns the run directory of the copy */
async function copy(name: string, extents: readonly Extent[], { onto = 'new', patienceSeconds = 60, bytesPerSecond }: HowToCopy = {}): Promise<string> {
  const directory = join(folder, `run-${name}`);
  started.push(directory);
  const list = { file: join(folder, `${name}.extents`), digestFile: join(folder, `${name}.digest`), onto };
  await writeFile(list.file, extentListText(extents));
  const limit = bytesPerSecond === undefined ? null : { bytesPerSecond, file: join(folder, 'rate') };
  if (limit !== null) await writeFile(limit.file, rateText(limit.bytesPerSecond));
  const target = nbdUri({ host: '127.0.0.1', port: networkPort }, 'disk');
  const { argv } = networkCopy(nbdUri({ socket: join(folder, 'source') }, ''), list, target, { program, patienceSeconds }, limit);
  await supervisor.start(directory, [...argv, '--silence-seconds=2'], { captureFd3: true });
  return directory;
}

async function requireSame(target: string): Promise<void> {
  await stopServer('target');
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', join(folder, 'source.raw'), target]);
}

/** Whether the digest that the copy reports matches the target's file. */
async function digestsAgree(name: string, target: string, onto: 'new' | 'parent' = 'new'): Promise<boolean> {
  const { key, digest } = JSON.parse(await readFile(join(folder, `${name}.digest`), 'utf8')) as KeyedDigest;
  const hasher = new FileHasher();
  try {
    return (await hasher.hashes({ path: target, content: { key, onto }, blocks: null })).content_digest === digest;
  } finally {
    hasher.onApplicationShutdown();
  }
}

async function carried(mib: number, atFirst = 0): Promise<void> {
  await until(`${mib} MiB to arrive`, () => Promise.resolve(network.bytesCarried - atFirst > mib * MIB), 60_000);
}

it('copies a full and an incremental over a long route that breaks repeatedly, with zeroes over data of the parent', async () => {
  const random = seeded(20);
  await prepare(() => 20 + 10 * random());
  const breaking = async (directory: string, untilMib: number): Promise<void> => {
    const before = network.bytesCarried;
    for (let mib = 0; mib < untilMib; mib += 4 + 12 * random()) {
      await carried(mib, before);
      network.breakConnections();
    }
    expect(await exitOf(directory)).toMatchObject({ exitCode: 0, stderr: '' });
  };
  const full = await newTarget('full.qcow2');
  await serveTarget(full);
  const first = await copy('full', WHOLE);
  await breaking(first, 48);
  expect(progressFraction(await readFile(join(first, 'fd3'), 'utf8'))).toBe(1);
  await requireSame(full);
  expect(await digestsAgree('full', full)).toBe(true);
  await stopServer('source');

  // A third of the blocks changes, and a third of those becomes zero.
  const changed: Extent[] = [];
  const source = await open(join(folder, 'source.raw'), 'r+');
  for (let offset = 0; offset < DISK_MIB * MIB; offset += BLOCK) {
    if (random() > 1 / 3) continue;
    changed.push({ offset, length: BLOCK });
    await source.write(Buffer.alloc(BLOCK, random() < 1 / 3 ? 0 : 1 + Math.floor(255 * random())), 0, BLOCK, offset);
  }
  await source.close();
  await serve('source', ['-r', '-f', 'raw', '-k', join(folder, 'source'), join(folder, 'source.raw')]);
  const incremental = await newTarget('incremental.qcow2', full);
  await serveTarget(incremental);
  await breaking(await copy('incremental', changed, { onto: 'parent' }), 8);
  await requireSame(incremental);
  expect(await digestsAgree('incremental', incremental, 'parent')).toBe(true);
  const { stdout } = await run('qemu-img', ['map', '--output=json', incremental]);
  const map = JSON.parse(stdout) as { start: number; length: number; depth: number; zero: boolean }[];
  const own = map.filter(({ depth }) => depth === 0).reduce((sum, { length }) => sum + length, 0);
  expect(own).toBe(changed.length * BLOCK);
  // Zeroes take no space.
  expect(map.some(({ depth, zero }) => depth === 0 && zero)).toBe(true);
});

it('sends no answered data twice, and no zeroes to a new file', async () => {
  await run('qemu-io', ['-f', 'raw', '-c', `write -z 32M 16M`, join(folder, 'source.raw')]);
  await prepare(4);
  const target = await newTarget('target.qcow2');
  await serveTarget(target);
  const directory = await copy('copy', WHOLE);
  await carried(20);
  network.breakConnections();
  await carried(40);
  // First silence, then a break, like a link that is down for a while.
  network.fallSilent();
  network.breakConnections();
  network.recover();
  expect(await exitOf(directory)).toMatchObject({ exitCode: 0 });
  // Unanswered data is sent again after each break; here that is less than the memory holds.
  expect(network.bytesCarried / MIB).toBeLessThan(48 + 2 * 32);
  await requireSame(target);
});

it('sends whole clusters for smaller extents, so that its digest matches that of the file', async () => {
  await run('qemu-io', ['-f', 'raw', '-c', 'truncate 67106304', '-c', 'write -z 1M 1M', join(folder, 'source.raw')]);
  await prepare(0);
  const target = join(folder, 'target.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', target, '67106304']);
  await serveTarget(target);
  const extents = [
    { offset: 512, length: 512 },
    { offset: 70_000, length: 4096 },
    { offset: MIB - 4096, length: 8192 },
    { offset: 67_106_304 - 512, length: 512 },
  ];
  expect(await exitOf(await copy('copy', extents))).toMatchObject({ exitCode: 0, stderr: '' });
  await stopServer('target');
  expect(await digestsAgree('copy', target)).toBe(true);
  const { stdout } = await run('qemu-img', ['map', '--output=json', target]);
  const stored = (JSON.parse(stdout) as { length: number; data: boolean }[]).filter(({ data }) => data).reduce((sum, { length }) => sum + length, 0);
  expect(stored).toBe(4 * BLOCK - 2560);
});

it('has a different digest than the file if the sent data is altered in transit, or the target is written to', async () => {
  // An NBD write request without flags, with its data in the same packet.
  const write = Buffer.from('2560951300000001', 'hex');
  await prepare(0);
  for (const onto of ['new', 'parent'] as const) {
    const target = await newTarget(`onto-${onto}.qcow2`, onto === 'new' ? null : await newTarget('parent.qcow2'));
    await serveTarget(target);
    network.tamper((bytes) => {
      const at = bytes.indexOf(write) + 28 + 1_000;
      if (!bytes.includes(write) || at >= bytes.length) return false;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return true;
    });
    expect(await exitOf(await copy(onto, WHOLE, { onto }))).toMatchObject({ exitCode: 0, stderr: '' });
    expect(network.tampered).toBe(true);
    await stopServer('target');
    await expect(run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', join(folder, 'source.raw'), target])).rejects.toThrow();
    await run('qemu-img', ['check', '-q', target]);
    expect(await digestsAgree(onto, target, onto)).toBe(false);
  }

  const target = await newTarget('written.qcow2');
  await serveTarget(target);
  const half: readonly Extent[] = [{ offset: 0, length: (DISK_MIB / 2) * MIB }];
  expect(await exitOf(await copy('written', half))).toMatchObject({ exitCode: 0, stderr: '' });
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 1 48M 512', `nbd://127.0.0.1:${targetPort}/disk`]);
  await stopServer('target');
  expect(await digestsAgree('written', target)).toBe(false);
});

it('gives up silent connections while new ones get answers', async () => {
  await prepare(0);
  const target = await newTarget('target.qcow2');
  await serveTarget(target);
  const directory = await copy('copy', WHOLE);
  await carried(10);
  network.strandConnections();
  expect(await exitOf(directory)).toMatchObject({ exitCode: 0 });
  await requireSame(target);
});

it('waits for a target that is gone until it is back, including at the beginning', async () => {
  await prepare(0);
  const target = await newTarget('target.qcow2');
  const directory = await copy('copy', WHOLE, { bytesPerSecond: 16 * MIB });
  await serveTarget(target);
  await carried(10);
  await stopServer('target');
  await serveTarget(target);
  // Raise the rate during the copy.
  await writeFile(join(folder, 'rate'), rateText(1024 * MIB));
  expect(await exitOf(directory)).toMatchObject({ exitCode: 0 });
  await requireSame(target);
});

it('ends when its patience is exhausted', async () => {
  await prepare(0);
  await serveTarget(await newTarget('target.qcow2'));
  const directory = await copy('copy', WHOLE, { patienceSeconds: 2, bytesPerSecond: 16 * MIB });
  await carried(10);
  await network.destroy();
  const { exitCode, stderr } = await exitOf(directory);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^sendense copy: the target could not be reached for \d+ s: connect ECONNREFUSED 127\.0\.0\.1:\d+\n$/);
});

it('ends immediately if its source disappears or the target is full, regardless of its patience', async () => {
  await prepare(0);
  await serveTarget(await newTarget('target.qcow2'));
  const patienceSeconds = 86_400;
  const first = await copy('first', WHOLE, { patienceSeconds, bytesPerSecond: 4 * MIB });
  await carried(10);
  await supervisor.stop(join(folder, 'run-source'), 0);
  expect(await exitOf(first)).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/^sendense copy: reading from the source at offset \d+: /),
  });
  await stopServer('source');
  await stopServer('target');

  const small = await mountSmallFileSystem(join(folder, 'small'), 32);
  if (small === null) return;
  try {
    await serve('source', ['-r', '-f', 'raw', '-k', join(folder, 'source'), join(folder, 'source.raw')]);
    await serveTarget(await newTarget('small/target.qcow2'));
    const second = await copy('second', WHOLE, { patienceSeconds });
    expect(await exitOf(second)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^sendense copy: writing to the target at offset \d+: No space left on device\n$/),
    });
    for (const one of started) await supervisor.stop(one, 2_000);
  } finally {
    await small.remove();
  }
});
