import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, open, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as pause } from 'node:timers/promises';
import { execa } from 'execa';
import pg from 'pg';
import type { StreamEventResponse } from '../src/hub/operations/http/event-history.js';
import type { NodeResponse } from '../src/hub/nodes/nodes/model/node.response.js';
import { loopDevicesOn, mountsBelow } from '../src/lib/files/mount-table.js';

const PROGRAM = join(import.meta.dirname, '../src/cli/main.cli.js');
const START_PATIENCE_MS = 60_000;
const STOP_PATIENCE_MS = 30_000;
const PORTS = 8;
const DATABASE_FILE = 'database.json';

/** One entry of a backup's live stream: an event from its history, or a `progress` report in between. */
export interface StreamEntry {
  readonly event: string;
  readonly data: unknown;
}

/** The hub refused the request. */
export class HubRefused extends Error {
  override readonly name = 'HubRefused';

  constructor(
    what: string,
    /** Stable code of the cause; empty when the response has none. */
    readonly code: string,
    readonly detail: string,
  ) {
    super(`${what}: ${detail}`);
  }
}

/** A hub and its local node, each a separate process, with their own data directory and ports. */
export class DemoHub {
  private readonly dataDirectory: string;

  private constructor(
    readonly directory: string,
    private readonly child: ChildProcess,
  ) {
    this.dataDirectory = join(directory, 'data');
  }

  /** @param more further variables, which win @throws Error with the end of the hub's log if it does not start */
  static async start(directory: string, imageRoot: string, more: Readonly<Record<string, string>> = {}): Promise<DemoHub> {
    const databaseUrl = await scratchDatabase(directory);
    const log = await open(join(directory, 'hub.log'), 'w');
    const child = spawn(process.execPath, [PROGRAM, 'hub'], {
      // Ctrl-C must reach the demo only, which then shuts the hub down in order.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: {
        ...withoutSettings(process.env),
        SENDENSE_DATA_DIRECTORY: join(directory, 'data'),
        SENDENSE_LISTEN_PORT: '0',
        // The demo mounts only disks that it made itself. The default driver, the sandbox, takes a minute per mount without KVM.
        SENDENSE_MOUNT_DRIVER: 'fuse',
        SENDENSE_LOCAL_NODE_PORT: '0',
        SENDENSE_LOCAL_NODE_IMAGE_ROOTS: imageRoot,
        SENDENSE_NBD_PORT_FIRST: String(await freePorts(PORTS)),
        SENDENSE_NBD_PORT_COUNT: String(PORTS),
        ...(databaseUrl === null ? {} : { DATABASE_URL: databaseUrl }),
        ...more,
      },
    });
    await log.close();
    const hub = new DemoHub(directory, child);
    try {
      await hub.waitUntilReady();
    } catch (error) {
      await hub.stop();
      throw error;
    }
    return hub;
  }

  get tokenFile(): string {
    return join(this.dataDirectory, 'api.token');
  }

  async url(): Promise<string> {
    return (await readFile(join(this.dataDirectory, 'hub.url'), 'utf8')).trim();
  }

  async get<Body>(path: string): Promise<Body> {
    return this.call<Body>('GET', path);
  }

  async post<Body>(path: string, body: object): Promise<Body> {
    return this.call<Body>('POST', path, body);
  }

  async delete(path: string): Promise<void> {
    await this.request('DELETE', path, undefined, 'application/json');
  }

  /** Streams a file. An interrupted download fails the read. */
  async download(path: string): Promise<ReadableStream<Uint8Array>> {
    const { body } = await this.request('GET', path, undefined, '*/*');
    if (body === null) throw new Error(`${path} has no body`);
    // The same platform class; the DOM types and Node's types name it differently.
    return body as ReadableStream<Uint8Array>;
  }

  /** Streams a backup's history and progress until the backup has finished. */
  async *follow(backupId: string): AsyncGenerator<StreamEntry> {
    const response = await this.request('GET', `/backups/${backupId}/events`, undefined, 'text/event-stream');
    if (response.body === null) throw new Error('the stream of events has no body');
    let text = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = /^event: ?(.*)$/m.exec(block)?.[1];
        const data = /^data: ?(.*)$/m.exec(block)?.[1];
        if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data) };
      }
    }
  }

  async history(backupId: string): Promise<readonly StreamEventResponse[]> {
    return (await this.get<{ readonly events: readonly StreamEventResponse[] }>(`/backups/${backupId}/events`)).events;
  }

  /** Lets the demo exit while the hub keeps running. */
  leaveRunning(): void {
    this.child.unref();
  }

  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await until('the hub to exit', () => Promise.resolve(hasEnded(this.child)), STOP_PATIENCE_MS).catch(() => this.child.kill('SIGKILL'));
    await endEverythingOf(this.directory);
  }

  private async waitUntilReady(): Promise<void> {
    await until(
      'the hub and its node',
      async () => {
        if (hasEnded(this.child)) throw new HubEnded();
        const { nodes } = await this.get<{ readonly nodes: readonly NodeResponse[] }>('/nodes');
        return nodes.some((node) => node.state === 'reachable');
      },
      START_PATIENCE_MS,
    ).catch(async (error: unknown) => {
      const log = await readFile(join(this.directory, 'hub.log'), 'utf8');
      throw new Error(`The hub did not start. The end of its log:\n${log.split('\n').slice(-20).join('\n')}`, { cause: error });
    });
  }

  private async call<Body>(method: string, path: string, body?: object): Promise<Body> {
    const response = await this.request(method, path, body, 'application/json');
    // The caller names the type that the API documents for this route.
    return (await response.json()) as Body;
  }

  private async request(method: string, path: string, body: object | undefined, accept: string): Promise<Response> {
    const token = (await readFile(this.tokenFile, 'utf8')).trim();
    const response = await fetch(`${await this.url()}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, accept, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw refusalOf(`${method} ${path} answered ${response.status}`, await response.text());
    return response;
  }
}

function refusalOf(what: string, text: string): HubRefused {
  try {
    const { code, detail } = JSON.parse(text) as { readonly code?: string; readonly detail?: string };
    return new HubRefused(what, code ?? '', detail ?? text);
  } catch {
    return new HubRefused(what, '', text);
  }
}

/** Removes a directory that may contain a repository, whose restore points are read-only. */
export async function removeDirectory(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o700).catch(() => undefined);
  }
  await rm(directory, { recursive: true, force: true, maxRetries: 10 });
}

class HubEnded extends Error {
  override readonly name = 'HubEnded';
}

/**
 * Ends every process and mount in a demo's directory and drops its database. Needed even after the hub stops: it leaves running transfers and their servers to
 * its next start.
 */
export async function endEverythingOf(directory: string): Promise<void> {
  // Release mounted disks before their processes end: once its file is gone, a loop device cannot be told from others.
  const mounted = await realpath(directory);
  for (const device of await loopDevicesOn(mounted)) await execa('losetup', ['--detach', device], { reject: false });
  for (const { mountPoint } of await mountsBelow(mounted)) await execa('umount', ['--lazy', mountPoint], { reject: false });
  const allEnded = async (): Promise<boolean> => (await processesOf(directory)).length === 0;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of await processesOf(directory)) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has already exited.
      }
    }
    const ended = await until('all processes to exit', allEnded, signal === 'SIGTERM' ? 10_000 : STOP_PATIENCE_MS).then(
      () => true,
      () => false,
    );
    if (ended) break;
  }
  const text = await readFile(join(directory, DATABASE_FILE), 'utf8').catch(() => null);
  if (text === null) return;
  const { server, name } = JSON.parse(text) as ScratchDatabase;
  await runSql(server, `drop database if exists ${name} with (force)`);
}

/** Kept in a file with mode 0600, so that a demo left running can be removed later together with its database. */
interface ScratchDatabase {
  readonly server: string;
  readonly name: string;
}

/** DATABASE_URL may name a shared server, so the demo creates its own database there. @returns its URL; null: the hub starts its own PostgreSQL */
async function scratchDatabase(directory: string): Promise<string | null> {
  const server = process.env['DATABASE_URL'];
  if (server === undefined || server === '') return null;
  const database: ScratchDatabase = { server, name: `sendense_demo_${randomUUID().replaceAll('-', '')}` };
  await writeFile(join(directory, DATABASE_FILE), JSON.stringify(database), { mode: 0o600 });
  await runSql(server, `create database ${database.name}`);
  const url = new URL(server);
  url.pathname = `/${database.name}`;
  return url.toString();
}

async function runSql(databaseUrl: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

async function until(what: string, holds: () => Promise<boolean>, patienceMs: number): Promise<void> {
  const ends = performance.now() + patienceMs;
  for (;;) {
    try {
      if (await holds()) return;
    } catch (error) {
      if (error instanceof HubEnded || performance.now() > ends) throw error;
    }
    if (performance.now() > ends) throw new Error(`timed out after ${patienceMs} ms waiting for ${what}`);
    await pause(50);
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Processes whose command line or environment names the directory. */
async function processesOf(directory: string): Promise<readonly number[]> {
  const pids: number[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || pid === process.ppid) continue;
    try {
      const text = (await readFile(`/proc/${pid}/cmdline`, 'utf8')) + (await readFile(`/proc/${pid}/environ`, 'utf8'));
      if (text.includes(directory)) pids.push(pid);
    } catch {
      // It has exited, or belongs to another user.
    }
  }
  return pids;
}

/** Keeps the settings of another hub on this machine out of the demo, except those that name an event store. */
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const isSetting = (name: string): boolean => (name.startsWith('SENDENSE_') && !name.startsWith('SENDENSE_EVENT')) || name === 'DATABASE_URL';
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !isSetting(name)));
}

/** The first of `count` consecutive TCP ports that are free now. */
async function freePorts(count: number): Promise<number> {
  for (let first = 21_100; first < 60_000; first += count) {
    const free = await Promise.all(Array.from({ length: count }, (_, index) => isFree(first + index)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`found no ${count} consecutive free ports`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
