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
  /** Data directory of the node. */
  readonly dataDirectory: string;
  /** Path to the node's entry point. */
  readonly entryPoint: string;
  /** Returns the node's current configuration as SENDENSE_* variables. Tokens are passed as file names, so that no process list shows one. */
  readonly settings: () => Readonly<Record<string, string>>;
  /** Returns the settings that a running node can reload without being replaced, keyed by their names in the configuration file. */
  readonly reloadable: () => Readonly<Record<string, string | number | readonly string[]>>;
  /** Version of this program. A node that runs an older version or has other settings is replaced once it is idle. */
  readonly version: string;
  readonly log: Logger;
  /** Called whenever a node answers at an address: after its start, its adoption and each restart. */
  readonly onReady: (node: { readonly nodeId: string; readonly url: string }) => Promise<void>;
}

const WATCH_MS = 250;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** After running for this long, a node is assumed not to have failed during startup. */
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
 * Runs a node next to the hub as a separate process that outlives the hub. Adopts a running node and restarts a dead one, backing off while it keeps dying.
 */
export class LocalNode {
  private readonly leaving = new AbortController();
  private watching: Promise<void> = Promise.resolve();

  constructor(private readonly options: LocalNodeOptions) {}

  /** Returns at once. The node starts in the background; onReady reports when it answers. */
  start(): void {
    mkdirSync(this.options.dataDirectory, { recursive: true, mode: 0o700 });
    this.watching = this.watch();
  }

  /** Stops supervising the node and leaves it running. */
  async leave(): Promise<void> {
    this.leaving.abort();
    await this.watching;
  }

  /** Number of active jobs: 0 when no node runs, null when a node runs but does not answer. */
  async activeJobs(): Promise<number | null> {
    if (this.running() === null) return 0;
    return (await this.ask())?.activeJobs ?? null;
  }

  /** Shuts the node down gracefully. Call leave() first. */
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
      this.options.log.warn('checking the local node again; it is restarted if it has exited', { pause_ms: pauseMs, log_file: this.logFile() });
      await pause(pauseMs, undefined, { signal: this.leaving.signal }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Follows one node process from its start or adoption to its exit. */
  private async look(): Promise<void> {
    const adopted = this.running();
    if (adopted === null) this.spawn();
    const identity = adopted ?? (await this.until(() => this.running(), 'has not started'));
    const answer = await this.until(() => this.ask(), 'does not answer');
    this.options.log.info(adopted === null ? 'the local node has started' : 'the local node was already running and was adopted', {
      pid: identity.pid,
      node_id: answer.nodeId,
    });
    await this.options.onReady({ nodeId: answer.nodeId, url: this.url() ?? '' });
    while (isAlive(identity) && !this.left()) {
      if (readIfThere(this.configFile()) !== this.configText()) {
        this.writeConfig();
        this.options.log.info('the local node reloads its settings', { pid: identity.pid });
        process.kill(identity.pid, 'SIGHUP');
      }
      if (this.isOutdated() && (await this.ask())?.activeJobs === 0) {
        this.options.log.info('the local node has other settings or another version; replacing it', { pid: identity.pid });
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
      const child = spawn(process.execPath, [this.options.entryPoint], {
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
        this.options.log.error('could not start the local node', { error });
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

  /** Digest of the settings and version that a node was started with. */
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

  /** Writes atomically: the node may be reading the file. */
  private writeConfig(): void {
    writeFileSync(`${this.configFile()}.new`, this.configText(), { mode: 0o600 });
    renameSync(`${this.configFile()}.new`, this.configFile());
  }

  /** The file is written as JSON, which is valid YAML. */
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

/** Removes the hub's own settings, so that the node does not inherit them. */
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
