import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { UndocumentedAnswerError } from './api-contract.js';
import { checkAnswersOf, requireDocumentedAnswers, servedContract } from './checked-answers.js';
import { freePortRange } from './free-ports.js';
import { guestMountsBelow, removeGuestMounts } from './guest-mounts.js';
import { TestEventStore } from './test-event-store.js';

export interface HubSystemOptions {
  /** Further SENDENSE_* variables of the hub, which win. */
  readonly env?: Readonly<Record<string, string>>;
  /** null: the hub's own PostgreSQL in its data directory. */
  readonly databaseUrl: string | null;
  /** An EventStoreDB that is not this hub's alone; its owner stops it. Default: one of its own, if the tests run on EventStoreDB. */
  readonly eventStore?: TestEventStore | null;
  /** Ports of the NBD pool. Default 16. */
  readonly portCount?: number;
  /** The built programs, such as those of another checkout. Default: this checkout's. */
  readonly dist?: string;
  /** Command in front of the hub's own, such as one that enters a network namespace. Default: none. */
  readonly inside?: readonly string[];
  /** Address of a hub that listens on all addresses of another network namespace. Default: the one in its `hub.url`. */
  readonly address?: string;
  /** Whether each answer is held against the OpenAPI document. Default true; not where time is measured. */
  readonly answersAreChecked?: boolean;
}

export interface ApiAnswer<Body> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

const ROOT = resolve(import.meta.dirname, '../..');
const DIST = join(ROOT, 'dist');
const ENTRY = 'src/hub/main.hub.js';
const START_PATIENCE_MS = 60_000;
/** Between two looks. What has not come at once is looked for less often: a look takes time of the machine from the very programs that are waited for. */
const FIRST_PAUSE_MS = 25;
const LAST_PAUSE_MS = 250;
const PAUSE_GROWTH = 1.3;

/** Waits until `look` gives something. @throws Error that names what was waited for, and what was seen last */
export async function until<Found>(what: string, look: () => Promise<Found | null | undefined | false>, patienceMs = 60_000): Promise<Found> {
  const ends = performance.now() + patienceMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * PAUSE_GROWTH, LAST_PAUSE_MS)) {
    let failure: unknown = null;
    try {
      const found = await look();
      if (found !== null && found !== undefined && found !== false) return found;
    } catch (error) {
      // It says what is wrong with the hub, which no patience mends.
      if (error instanceof UndocumentedAnswerError) throw error;
      failure = error;
    }
    if (performance.now() > ends) {
      const last = failure instanceof Error ? `; the last look failed: ${failure.message}` : '';
      throw new Error(`waited ${patienceMs} ms in vain for ${what}${last}`, { cause: failure });
    }
    await pause(pauseMs);
  }
}

/** Never to process 0, which is everybody who runs this test. @throws Error when there is no such process to begin with */
export function signalPid(pid: number | null | undefined, signal: NodeJS.Signals): void {
  if (pid === null || pid === undefined) throw new Error(`there is no process to be sent ${signal}`);
  process.kill(pid, signal);
}

/** A hub with its local node, from the compiled program, in a temporary directory, on ports of its own. Removes what it started by pid. */
export class HubSystem {
  private child: ChildProcess | null = null;
  private starts = 0;
  /** Processes older than this system, which cannot be its own. */
  private readonly older = new Set(runningPids());

  private constructor(
    readonly directory: string,
    readonly dist: string,
    private readonly env: Readonly<Record<string, string>>,
    private readonly answersAreChecked: boolean,
    private readonly inside: readonly string[],
    private readonly address: string | null,
    private readonly ownEventStore: TestEventStore | null,
  ) {}

  static async create(options: HubSystemOptions): Promise<HubSystem> {
    const { dist = DIST } = options;
    if (!existsSync(join(dist, ENTRY))) throw new Error(`${join(dist, ENTRY)} is missing: build first (bin/test does)`);
    const directory = await mkdtemp(join(tmpdir(), 'sendense-system-'));
    // Root's own PostgreSQL runs as another user, who has to pass through here.
    await chmod(directory, 0o711);
    await mkdir(join(directory, 'images'));
    await mkdir(join(directory, 'repository'));
    const first = await freePortRange(options.portCount ?? 16);
    const ownEventStore = options.eventStore === undefined ? await TestEventStore.start() : null;
    const env = {
      // Hubs and nodes are started hundreds of times in the tests; what V8 has compiled once need not be compiled again.
      NODE_COMPILE_CACHE: join(dist, '.compile-cache'),
      SENDENSE_DATA_DIRECTORY: join(directory, 'data'),
      SENDENSE_LISTEN_PORT: '0',
      SENDENSE_LOCAL_NODE_PORT: '0',
      SENDENSE_LOCAL_NODE_IMAGE_ROOTS: join(directory, 'images'),
      SENDENSE_NBD_PORT_FIRST: String(first),
      SENDENSE_NBD_PORT_COUNT: String(options.portCount ?? 16),
      SENDENSE_LOG_LEVEL: 'info',
      // The sandbox takes tens of seconds for a mount where it is emulated.
      SENDENSE_MOUNT_DRIVER: 'fuse',
      ...(options.databaseUrl === null ? {} : { DATABASE_URL: options.databaseUrl }),
      ...(options.eventStore ?? ownEventStore)?.settings,
      ...options.env,
    };
    return new HubSystem(directory, dist, env, options.answersAreChecked ?? true, options.inside ?? [], options.address ?? null, ownEventStore);
  }

  /** The hub's settings, as variables. */
  get settings(): Readonly<Record<string, string>> {
    return this.env;
  }
  get dataDirectory(): string {
    return join(this.directory, 'data');
  }
  get imageRoot(): string {
    return join(this.directory, 'images');
  }
  get repositoryPath(): string {
    return join(this.directory, 'repository');
  }
  get hubPid(): number | null {
    return this.child?.pid ?? null;
  }
  /** What the hub has logged, over all its starts. */
  log(): string {
    let text = '';
    for (let start = 1; start <= this.starts; start++) text += readFileSync(join(this.directory, `hub-${start}.log`), 'utf8');
    return text;
  }

  /** Starts the hub and waits until it answers and its node is reachable. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.launch(env);
    await until(
      'the local node',
      async () => {
        const { body } = await this.api<{ nodes: { url: string }[] }>('GET', '/nodes');
        // The hub may still know the address that its last node had; a node answers 401 to us, which is enough.
        const url = (await readFile(join(this.dataDirectory, 'local-node', 'node.url'), 'utf8')).trim();
        return body.nodes.some((node) => node.url === url) && (await fetch(`${url}/api/v1/health`)).status > 0;
      },
      START_PATIENCE_MS,
    );
  }

  /** Starts the hub and waits until it answers, or has ended. */
  async launch(env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.starts += 1;
    const [file, ...args] = [...this.inside, process.execPath, join(this.dist, ENTRY)];
    const child = spawn(file, args, { env: { ...cleanEnvironment(), ...this.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(this.directory, `hub-${this.starts}.log`));
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    this.child = child;
    await until(
      `the hub to answer (see ${this.directory})`,
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) return true;
        return (await fetch(`${this.url()}/api/v1/health/live`)).ok;
      },
      START_PATIENCE_MS,
    );
    if (this.answersAreChecked && child.exitCode === null && child.signalCode === null) this.checkAnswers();
  }

  /** Ends the hub alone with this signal and waits until it is gone; node, exports and PostgreSQL go on. @returns as `ended` */
  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    this.child?.kill(signal);
    return this.ended();
  }

  /** Waits until the hub has ended by itself. @returns its exit code; null when a signal ended it, or there was none */
  async ended(patienceMs = 60_000): Promise<number | null> {
    const child = this.child;
    await until('the hub to end', () => Promise.resolve(child === null || child.exitCode !== null || child.signalCode !== null), patienceMs);
    this.child = null;
    return child?.exitCode ?? null;
  }

  async nodePid(): Promise<number> {
    const lock: unknown = JSON.parse(await readFile(join(this.dataDirectory, 'local-node', 'node.pid'), 'utf8'));
    if (typeof lock === 'number') return lock;
    if (typeof lock === 'object' && lock !== null && 'pid' in lock && typeof lock.pid === 'number') return lock.pid;
    throw new Error('node.pid is not understood');
  }

  url(): string {
    const url = new URL(readFileSync(join(this.dataDirectory, 'hub.url'), 'utf8').trim());
    if (this.address !== null) url.hostname = this.address;
    return url.origin;
  }

  private checkAnswers(): void {
    const url = this.url();
    checkAnswersOf(url, () => servedContract(url, () => this.apiToken()));
  }

  apiToken(): string {
    return readFileSync(join(this.dataDirectory, 'api.token'), 'utf8').trim();
  }

  /** The caller names the shape it expects; what answers is held against the OpenAPI document (`checked-answers.ts`). */
  async api<Body>(method: string, path: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<ApiAnswer<Body>> {
    const response = await fetch(`${this.url()}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.apiToken()}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: (text === '' ? null : JSON.parse(text)) as Body };
  }

  /** Ends hub, node and exports of this system, by the pids in its own files, and removes its directory. */
  async destroy(): Promise<void> {
    this.child?.kill('SIGTERM');
    await this.ended().catch(() => this.child?.kill('SIGKILL'));
    for (const pid of await this.leftoverPids()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await until('the processes to end', async () => (await this.leftoverPids()).length === 0);
    await this.ownEventStore?.stop();
    await removeGuestMounts(this.directory);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 10 });
    requireDocumentedAnswers();
  }

  /**
   * Processes whose environment or command line names this system's directory: all that it has started and that still runs. Waits call this repeatedly, so it
   * reads without the thread pool, which takes many times as long, and only of processes younger than this system.
   */
  leftoverPids(): Promise<readonly number[]> {
    const pids: number[] = [];
    const running = runningPids();
    // A pid that is free may be used again.
    for (const pid of this.older) if (!running.has(pid)) this.older.delete(pid);
    for (const pid of running) {
      if (this.older.has(pid)) continue;
      try {
        if (readFileSync(`/proc/${pid}/environ`).includes(this.directory) || readFileSync(`/proc/${pid}/cmdline`).includes(this.directory)) pids.push(pid);
      } catch {
        // It has ended meanwhile, or is not ours to read.
      }
    }
    return Promise.resolve(pids);
  }

  /** What mounts of restore points leave on the machine: mounts, loop devices, and the processes behind them. */
  async mountRemains(): Promise<readonly string[]> {
    const found = [...(await guestMountsBelow(this.directory))];
    for (const pid of await this.leftoverPids()) {
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
      const argv = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (/^(qemu-storage-da|ntfs-3g|guestfish)/.test(name) || argv.includes('browser.process')) found.push(`${name} ${pid}`);
    }
    return found;
  }

  /** Run directories of exports, restores and mounts that are still there. */
  async runRemains(): Promise<readonly string[]> {
    const run = join(this.dataDirectory, 'run');
    const places = ['exports', 'mounts', 'restore-exports', 'restore-jobs'].map((name) => join(run, name));
    const entries = await Promise.all(places.map(async (place) => (existsSync(place) ? await readdir(place) : []).map((name) => join(place, name))));
    return entries.flat();
  }

  /** qemu-nbd, qemu-img, nbdcopy and nbdkit processes of this system, and copies across a network (`main.copy.js`). */
  async toolProcesses(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const pid of await this.leftoverPids()) {
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
      if (/^(qemu-nbd|qemu-img|nbdcopy|nbdkit)$/.test(name)) found.push(`${name} ${pid}`);
      // One that a test holds at its start is still the program through which it starts.
      else if (basename(words[1] ?? '') === 'main.copy.js' || (name === 'nice' && words.some((word) => basename(word) === 'main.copy.js')))
        found.push(`main.copy.js ${pid}`);
    }
    return found;
  }
}

function runningPids(): Set<number> {
  return new Set(
    readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isInteger(pid)),
  );
}

function cleanEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name, value]) => value !== undefined && !name.startsWith('SENDENSE_') && name !== 'DATABASE_URL'),
  ) as Record<string, string>;
}
