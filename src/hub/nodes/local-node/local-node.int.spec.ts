import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { loggerFor } from '../../../lib/logging/logger.js';
import { LocalNode } from './local-node.js';
import type { ProcessIdentity } from '../../../lib/process/process-supervisor.port.js';
import { runningProgram } from '../../../lib/process/program-lock.js';

/** Behaves like a node towards its parent: lock, address, health. The file `jobs` holds the number of active jobs. */
const STAND_IN = `
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
const data = process.env.SENDENSE_DATA_DIRECTORY;
const stat = readFileSync('/proc/self/stat', 'utf8');
const boot_id = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
process.on('SIGHUP', () => writeFileSync(data + '/reloaded', readFileSync(process.env.SENDENSE_CONFIG)));
writeFileSync(data + '/environment', JSON.stringify(process.env));
const server = createServer((request, response) => response.end(JSON.stringify({ node_id: 'n-1', active_jobs: Number(readFileSync(data + '/jobs', 'utf8')) })));
server.listen(0, '127.0.0.1', () => {
  writeFileSync(data + '/node.url', 'http://127.0.0.1:' + server.address().port);
  writeFileSync(data + '/node.lock', JSON.stringify({ pid: process.pid, start_ticks: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19], boot_id }));
});
`;

let folder: string;
let ready: string[];
let nodes: LocalNode[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-local-node-'));
  writeFileSync(join(folder, 'node.mjs'), STAND_IN);
  writeFileSync(join(folder, 'jobs'), '0');
  ready = [];
  nodes = [];
});

afterEach(async () => {
  for (const node of nodes) await node.leave();
  await nodes[0]?.stop();
  rmSync(folder, { recursive: true });
});

function startNode(settings: Readonly<Record<string, string>> = {}, reloadable: Record<string, string> = {}): LocalNode {
  const node = new LocalNode({
    dataDirectory: folder,
    entryPoint: join(folder, 'node.mjs'),
    settings: () => settings,
    reloadable: () => reloadable,
    version: '1.0.0',
    log: loggerFor('test'),
    onReady: ({ url }) => {
      ready.push(url);
      return Promise.resolve();
    },
  });
  nodes.push(node);
  node.start();
  return node;
}

const running = (): ProcessIdentity | null => runningProgram(folder, 'node');

async function until(holds: () => boolean): Promise<void> {
  for (const ends = performance.now() + 15_000; !holds();) {
    if (performance.now() > ends) throw new Error('the expected state was not reached in time');
    await pause(20);
  }
}

it('starts a node with its settings and without the token, and reports its address', async () => {
  const before = process.env['SENDENSE_LISTEN_PORT'];
  process.env['SENDENSE_LISTEN_PORT'] = '9080';
  try {
    startNode({ SENDENSE_HUB_URL: 'http://hub' });
    await until(() => ready.length === 1);
  } finally {
    if (before === undefined) delete process.env['SENDENSE_LISTEN_PORT'];
    else process.env['SENDENSE_LISTEN_PORT'] = before;
  }
  expect(ready[0]).toBe(readFileSync(join(folder, 'node.url'), 'utf8'));
  const environment = readFileSync(join(folder, 'environment'), 'utf8');
  expect(JSON.parse(environment)).toMatchObject({ SENDENSE_HUB_URL: 'http://hub' });
  expect(environment).not.toMatch(/SENDENSE_LISTEN_PORT|not-in-any-process-list/);
  expect(readFileSync(`/proc/${String(running()?.pid)}/cmdline`, 'utf8')).not.toContain('not-in-any-process-list');
});

it('leaves the node running, and the next hub adopts it', async () => {
  const first = startNode();
  await until(() => ready.length === 1);
  const identity = running();
  await first.leave();
  startNode();
  await until(() => ready.length === 2);
  expect(running()).toEqual(identity);
});

it('starts a dead node again', async () => {
  startNode();
  await until(() => ready.length === 1);
  const dead = running();
  if (dead !== null) process.kill(dead.pid, 'SIGKILL');
  await until(() => ready.length === 2);
  expect(running()?.pid).not.toBe(dead?.pid);
});

it('replaces a node with other settings, but only once it is idle', async () => {
  const first = startNode({ SENDENSE_HUB_URL: 'http://old' });
  await until(() => ready.length === 1);
  const old = running();
  await first.leave();
  writeFileSync(join(folder, 'jobs'), '1');

  const second = startNode({ SENDENSE_HUB_URL: 'http://new' });
  await until(() => ready.length === 2);
  expect(await second.activeJobs()).toBe(1);
  expect(running()).toEqual(old);

  writeFileSync(join(folder, 'jobs'), '0');
  await until(() => ready.length === 3);
  expect(running()?.pid).not.toBe(old?.pid);
  expect(readFileSync(join(folder, 'environment'), 'utf8')).toContain('http://new');
});

it('makes a running node reload its reloadable settings and keeps using it', async () => {
  const reloadable: Record<string, string> = { log_level: 'info' };
  startNode({}, reloadable);
  await until(() => ready.length === 1);
  const before = running();
  reloadable['log_level'] = 'debug';
  const reloaded = (): string => (existsSync(join(folder, 'reloaded')) ? readFileSync(join(folder, 'reloaded'), 'utf8') : '');
  await until(() => reloaded().includes('debug'));
  expect(running()).toEqual(before);
  expect(ready).toHaveLength(1);
});

it('stops the node', async () => {
  const node = startNode();
  await until(() => ready.length === 1);
  await node.leave();
  await node.stop();
  expect(running()).toBeNull();
  expect(await node.activeJobs()).toBe(0);
});
