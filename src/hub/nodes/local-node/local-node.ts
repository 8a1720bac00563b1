import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../../lib/logging/logger.js';
import { isAlive } from '../../../lib/process/process-identity.js';
import type { ProcessIdentity } from '../../../lib/process/process-supervisor.port.js';
import { runningProgram } from '../../../lib/process/program-lock.js';

export interface LocalNodeOptions {
  /** The node's own data directory. */
  readonly dataDirectory: string;
  /** Path of the node's entry point. */
  readonly entryPoint: string;
  /** The node's configuration as it is now, as SENDENSE_* variables. Tokens are named by file, so that no process list shows one. */
  readonly settings: () => Readonly<Record<string, string>>;
  /** Of its configuration as it is now, by their names in a file, what a running node takes on without being replaced. */
  readonly reloadable: () => Readonly<Record<string, string | number | readonly string[]>>;
  /** Of this program: a node that runs an older one, or with other settings, is replaced once it is idle. */
  readonly version: string;
  readonly log: Logger;
  /** Called each time a node answers at an address: after its start, its adoption, and its restart. */
  readonly onReady: (node: { readonly nodeId: string; readonly url: string }) => Promise<void>;
}

const WATCH_MS = 250;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A node that lived so long did not die of its start. */
const STEADY_MS = 60_000;
const START_PATIENCE_MS = 30_000;
const STOP_PATIENCE_MS = 10_000;
const REQUEST_TIMEOUT_MS = 2_000;
const LARGEST_LOG_BYTES = 16 * 1024 * 1024;

interface Answer {
  readonly nodeId: string;
  readonly activeJobs: number;
}

/**
 * The node beside the hub, as a process of its own that outlives the hub: a running one is adopted, a dead one started again, ever more slowly while it keeps dying.
 */
export class LocalNode {
  private readonly leaving = new AbortController();
  private watching: Promise<void> = Promise.resolve();

  constructor(private readonly options: LocalNodeOptions) {}

  /** Returns at once; the node comes up by and by, and onReady tells when. */
  start(): void {
    mkdirSync(this.options.dataDirectory, { recursive: true, mode: 0o700 });
    this.watching = this.watch();
  }

  /** Stops looking after the node, and leaves it running. */
  async leave(): Promise<void> {
    this.leaving.abort();
    await this.watching;
  }

  /** How many jobs the node has under way; 0 when none runs; null when one runs but does not answer. */
  async activeJobs(): Promise<number | null> {
    if (this.running() === null) return 0;
    return (await this.ask())?.activeJobs ?? null;
  }

  /** Ends the node in an orderly way; call leave() first. */
  async stop(): Promise<void> {
    const identity = this.running();
    if (identity !== null) await end(identity);
  }

  private async watch(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.left()) {
      const began = performance.now();
      try {
        await this.look();
      } catch (error) {
        if (!this.left()) this.options.log.warn('the local node cannot be used', { error });
      }
      if (this.left()) return;
      if (performance.now() - began > STEADY_MS) pauseMs = FIRST_PAUSE_MS;
      this.options.log.warn('looking after the local node again, and starting it if it has ended', { pause_ms: pauseMs, log_file: this.logFile() });
      await pause(pauseMs, undefined, { signal: this.leaving.signal }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /** From the start or adoption of one node process to its end. */
  private async look(): Promise<void> {
    const adopted = this.running();
    if (adopted === null) this.spawn();
    const identity = adopted ?? (await this.until(() => this.running(), 'has not started'));
    const answer = await this.until(() => this.ask(), 'does not answer');
    this.options.log.info(adopted === null ? 'the local node runs' : 'the local node was running and is adopted', {
      pid: identity.pid,
      node_id: answer.nodeId,
    });
    await this.options.onReady({ nodeId: answer.nodeId, url: this.url() ?? '' });
    while (isAlive(identity) && !this.left()) {
      if (readIfThere(this.configFile()) !== this.configText()) {
        this.writeConfig();
        this.options.log.info('the local node reads its settings again', { pid: identity.pid });
        process.kill(identity.pid, 'SIGHUP');
      }
      if (this.isOutdated() && (await this.ask())?.activeJobs === 0) {
        this.options.log.info('the local node runs with other settings or of another version; replacing it', { pid: identity.pid });
        await end(identity);
        return this.look();
      }
      await pause(WATCH_MS, undefined, { signal: this.leaving.signal }).catch(() => undefined);
    }
  }

  private spawn(): void {
    rmSync(this.urlFile(), { force: true });
    if (existsSync(this.logFile()) && statSync(this.logFile()).size > LARGEST_LOG_BYTES) renameSync(this.logFile(), `${this.logFile()}.1`);
    writeFileSync(this.settingsFile(), this.fingerprint(), { mode: 0o600 });
    this.writeConfig();
    const output = openSync(this.logFile(), 'a', 0o600);
    try {
      const child = spawn(process.execPath, ['--enable-source-maps', this.options.entryPoint], {
        detached: true,
        stdio: ['ignore', output, output],
        cwd: '/',
        env: {
          ...withoutOurSettings(process.env),
          ...this.options.settings(),
          SENDENSE_DATA_DIRECTORY: this.options.dataDirectory,
          SENDENSE_CONFIG: this.configFile(),
        },
      });
      child.on('error', (error) => {
        this.options.log.error('the local node cannot be started', { error });
      });
      child.unref();
    } finally {
      closeSync(output);
    }
  }

  private async until<Found>(find: () => Found | null | Promise<Found | null>, problem: string): Promise<Found> {
    for (const ends = performance.now() + START_PATIENCE_MS; ;) {
      const found = await find();
      if (found !== null) return found;
      if (performance.now() >= ends) throw new Error(`the local node ${problem} within ${START_PATIENCE_MS} ms`);
      await pause(WATCH_MS, undefined, { signal: this.leaving.signal });
    }
  }

  private async ask(): Promise<Answer | null> {
    const url = this.url();
    if (url === null) return null;
    try {
      const response = await fetch(`${url}/api/v1/health`, {
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const body: unknown = await response.json();
      if (!response.ok || typeof body !== 'object' || body === null || !('node_id' in body) || !('active_jobs' in body)) return null;
      return typeof body.node_id === 'string' && typeof body.active_jobs === 'number' ? { nodeId: body.node_id, activeJobs: body.active_jobs } : null;
    } catch {
      return null;
    }
  }

  private running(): ProcessIdentity | null {
    return runningProgram(this.options.dataDirectory, 'node');
  }

  private left(): boolean {
    return this.leaving.signal.aborted;
  }

  private isOutdated(): boolean {
    return readIfThere(this.settingsFile()) !== this.fingerprint();
  }

  /** Of what a node was started with. */
  private fingerprint(): string {
    return createHash('sha256')
      .update(JSON.stringify([this.options.version, this.options.settings()]))
      .digest('hex');
  }

  private url(): string | null {
    return readIfThere(this.urlFile())?.trim() ?? null;
  }

  private urlFile(): string {
    return join(this.options.dataDirectory, 'node.url');
  }

  private settingsFile(): string {
    return join(this.options.dataDirectory, 'started-with');
  }

  private configFile(): string {
    return join(this.options.dataDirectory, 'node.yaml');
  }

  /** Whole or not at all: the node may be reading it. */
  private writeConfig(): void {
    writeFileSync(`${this.configFile()}.new`, this.configText(), { mode: 0o600 });
    renameSync(`${this.configFile()}.new`, this.configFile());
  }

  /** JSON is YAML. */
  private configText(): string {
    return `${JSON.stringify(this.options.reloadable(), null, 2)}\n`;
  }

  private logFile(): string {
    return join(this.options.dataDirectory, 'node.log');
  }
}

async function end(identity: ProcessIdentity): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (isAlive(identity)) process.kill(identity.pid, signal);
    for (const ends = performance.now() + STOP_PATIENCE_MS; isAlive(identity) && performance.now() < ends;) await pause(20);
  }
}

/** The hub's own settings must not become the node's. */
function withoutOurSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('SENDENSE_') && name !== 'DATABASE_URL'));
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
