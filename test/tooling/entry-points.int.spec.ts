import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { runningProgram } from '../../src/lib/process/program-lock.js';
import { PROJECT } from './planted-tree.js';

const SENDENSE = join(PROJECT, 'bin', 'sendense');
const PATIENCE_MS = 60_000;

// Each start of the program checks the set-up first, which on a busy machine takes its time.
jest.setTimeout(PATIENCE_MS);

let folder: string;
let data: string;
const hubs: Hub[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sendense-entry-'));
  chmodSync(folder, 0o711);
  data = join(folder, 'data');
  // Builds if need be, so that no test below waits for that.
  await promisify(execFile)(join(PROJECT, 'bin', 'setup'), ['--quiet']);
}, 4 * PATIENCE_MS);

afterAll(async () => {
  for (const hub of hubs) hub.process.kill('SIGKILL');
  for (const [directory, program] of [
    [data, 'hub'],
    [join(data, 'local-node'), 'node'],
  ] as const) {
    const left = runningProgram(directory, program);
    if (left !== null) process.kill(left.pid, 'SIGKILL');
  }
  await new LocalPostgres(join(data, 'postgres'), { log: () => undefined, warn: () => undefined }).stop();
  rmSync(folder, { recursive: true, force: true });
}, PATIENCE_MS);

function environment(settings: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { DATABASE_URL: _database, ...rest } = process.env;
  return {
    ...rest,
    SENDENSE_DATA_DIRECTORY: data,
    SENDENSE_LISTEN_PORT: '0',
    SENDENSE_LOCAL_NODE_PORT: '0',
    SENDENSE_LOCAL_NODE_IMAGE_ROOTS: join(folder, 'images'),
    ...settings,
  };
}

async function outcome(argv: readonly string[], settings: Readonly<Record<string, string>> = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await promisify(execFile)(SENDENSE, argv, { env: environment(settings), cwd: folder })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }; // what execFile adds to its error
    return { code, stdout, stderr };
  }
}

interface Hub {
  readonly process: ChildProcess;
  readonly exit: Promise<number | null>;
  log(): string;
}

function startHub(): Hub {
  const child = spawn(SENDENSE, ['hub'], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const exit = new Promise<number | null>((resolve) => {
    child.on('exit', resolve);
  });
  const hub = { process: child, exit, log: () => output };
  hubs.push(hub);
  return hub;
}

async function until<Found>(hub: Hub, find: () => Found | null | Promise<Found | null>): Promise<Found> {
  for (const ends = performance.now() + PATIENCE_MS; performance.now() < ends;) {
    const found = await find();
    if (found !== null) return found;
    await pause(50);
  }
  throw new Error(`it did not come about; the hub's log:\n${hub.log()}`);
}

function logged(hub: Hub, message: string): Promise<true> {
  return until(hub, () => (hub.log().includes(`"message":"${message}"`) ? true : null));
}

describe('bin/sendense', () => {
  it('names every wrong setting, ends with 2 and has touched nothing', async () => {
    const { code, stderr } = await outcome(['hub'], { SENDENSE_LISTEN_PORT: 'x', SENDENSE_CHAIN_MAX_LENGTH: '0' });
    expect({ code, made: existsSync(data) }).toEqual({ code: 2, made: false });
    expect(stderr).toContain('listen_port: must be an integer from 0 to 65535, but is "x" (in SENDENSE_LISTEN_PORT)');
    expect(stderr).toContain('chain_max_length: must be an integer from 1 to 1000');
  });

  it('starts no node without its token, and has touched nothing', async () => {
    const { code, stderr } = await outcome(['node']);
    expect({ code, made: existsSync(data) }).toEqual({ code: 2, made: false });
    expect(stderr).toContain(`token_file: ${join(data, 'node.token')} does not exist`);
  });

  it.each([
    [['frobnicate'], "unknown command 'frobnicate'\nSee: sendense --help"],
    [['nod'], 'Did you mean node?'],
    [[], 'Usage: sendense [options] [command]'],
    [['node', 'lost'], "unknown command 'lost'\nSee: sendense node --help"],
    [['hub', 'twice'], 'See: sendense hub --help'],
    [['hub', '--colour'], "unknown option '--colour'\nSee: sendense hub --help"],
    [['node', 'enrol', 'a-code'], 'the pairing code is read from standard input\nSee: sendense node enrol --help'],
    [['node', 'enrol', '--code=a-code'], "unknown option '--code'\nSee: sendense node enrol --help"],
  ])('explains wrong usage and ends with 2 for %j', async (argv, explanation) => {
    const { code, stderr } = await outcome(argv);
    expect(code).toBe(2);
    expect(stderr).toContain(explanation);
    expect(stderr).not.toContain('a-code');
  });

  it.each([['help'], ['--help'], ['version'], ['--version'], ['help restore'], ['node enrol --help']])('answers %s', async (words) => {
    expect(await outcome(words.split(' '))).toMatchObject({ code: 0, stdout: expect.stringMatching(/Usage: sendense|^\d+\.\d+\.\d+\n$/) });
  });
});

it(
  'the hub starts with all it needs, keeps out a second one, is killed, adopts what runs, looks after its node, and ends cleanly',
  async () => {
    const first = startHub();
    await logged(first, 'the local node has started');
    const url = readFileSync(join(data, 'hub.url'), 'utf8').trim();
    expect(statSync(join(data, 'api.token')).mode & 0o777).toBe(0o600);
    expect((await fetch(`${url}/api/v1/health/ready`)).status).toBe(200);
    expect((await fetch(`${url}/api/v1/nodes`)).status).toBe(401);
    const token = readFileSync(join(data, 'api.token'), 'utf8').trim();
    expect((await fetch(`${url}/api/v1/nodes`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);

    const second = await outcome(['hub']);
    expect(second.code).toBe(1);
    expect(second.stdout).toContain(`a hub is already running in ${data} (pid ${first.process.pid})`);

    const node = runningProgram(join(data, 'local-node'), 'node');
    first.process.kill('SIGKILL');
    await first.exit;
    const third = startHub();
    await logged(third, 'the local node was already running and was adopted');
    expect(runningProgram(join(data, 'local-node'), 'node')).toEqual(node);
    // The node goes on telling the address it knows.
    expect(readFileSync(join(data, 'hub.url'), 'utf8').trim()).toBe(url);

    if (node !== null) process.kill(node.pid, 'SIGKILL');
    await logged(third, 'the local node has started');
    expect(runningProgram(join(data, 'local-node'), 'node')).not.toEqual(node);

    third.process.kill('SIGTERM');
    expect(await third.exit).toBe(0);
    expect(runningProgram(join(data, 'local-node'), 'node')).toBeNull();
    expect(existsSync(join(data, 'hub.pid'))).toBe(false);
    expect(existsSync(join(data, 'postgres', 'cluster', 'postmaster.pid'))).toBe(false);
    for (const hub of [first, third]) {
      expect(hub.log()).not.toContain(token);
      for (const line of hub.log().trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ program: 'hub' });
    }
  },
  3 * PATIENCE_MS,
);
