import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Injectable } from '@nestjs/common';
import { messageOf } from '../../kernel/error-message.js';
import { droppingCapabilities } from './capabilities.js';
import { isAlive, signalProcess } from './process-identity.js';
import { type ProcessIdentity, ProcessSupervisor, type StartOptions, type SupervisedStatus } from './process-supervisor.port.js';
import { spawnDetached } from './spawn-detached.js';
import { spawnSlot } from './spawn-throttle.js';
import { currentSpawner } from './spawner.js';
import { errnoOf } from './system-error.js';
import { STDERR_TAIL_BYTES, storableText, ToolError } from './tool-error.js';

type Exited = Extract<SupervisedStatus, { state: 'exited' }>;

const SCRIPT = fileURLToPath(new URL('./supervise.sh', import.meta.url));
/** Polling interval for processes whose end is not reported to us. One round checks all of them. */
const WATCH_INTERVAL_MS = 100;
const LAST_WORDS_MS = 10;
/** A claim whose shell is gone and that names no tool after this time never started one. */
const CLAIM_SETTLES_MS = 2_000;
/** A qemu-nbd that receives SIGTERM while it starts loses it, so it is sent again. */
const REPEAT_SIGTERM_MS = 250;
/** A third of the processor time of an ordinary process when both want all of it, and all of it when nothing else does. */
const IN_BACKGROUND = ['nice', '-n', '5'] as const;
/** How long to wait for a process to appear after its start, or to vanish after SIGKILL. */
const PATIENCE_MS = 10_000;

interface Watch {
  readonly runDirectory: string;
  /** null until known. */
  identity: ProcessIdentity | null;
  /** True while an asynchronous check is in progress. */
  looking: boolean;
  /** True while a check is due before the next round. */
  hurried: boolean;
  readonly resolve: (exited: Exited) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One small shell per process (supervise.sh) starts the tool, waits for it and records its exit code, whatever happens to us. Every answer comes from the run
 * directory and /proc, so another instance gives the same answers.
 */
@Injectable()
export class ShellProcessSupervisor extends ProcessSupervisor {
  private readonly watches = new Set<Watch>();
  private timer: NodeJS.Timeout | null = null;

  async start(runDirectory: string, argv: readonly [string, ...string[]], options: StartOptions = {}): Promise<void> {
    if (!isAbsolute(runDirectory)) throw new Error(`run directory ${runDirectory} is not absolute`);
    await mkdir(runDirectory, { recursive: true, mode: 0o700 });
    if ((await this.status(runDirectory)).state === 'absent') {
      const { ended } = await startShell(runDirectory, argv, options);
      // Processes of ours need no polling: the exit of their shell reports it.
      ended.then(
        () => this.lookAt(runDirectory),
        () => undefined,
      );
    }
    await this.appearance(runDirectory, argv);
  }

  async status(runDirectory: string): Promise<SupervisedStatus> {
    const exited = await readExit(runDirectory);
    if (exited !== null) return exited;
    const claim = await readText(join(runDirectory, 'claim'));
    if (claim === null) return { state: 'absent' };
    if (claim === STOPPED_CLAIM) return { state: 'exited', exitCode: null, stderr: '', stopRequested: true };
    const identity = parseIdentity(await readText(join(runDirectory, 'process')));
    if (identity !== null && isAlive(identity)) return { state: 'running', identity };
    const shell = parseIdentity(claim);
    // The tool may not exist yet, or its exit code may not be written yet; the shell takes care of both.
    if (shell !== null && isAlive(shell)) return { state: 'running', identity };
    // The shell may have written the code and exited since the first check.
    const late = await readExit(runDirectory);
    if (late !== null) return late;
    if (identity === null && (await ageMs(join(runDirectory, 'claim'))) < CLAIM_SETTLES_MS) return { state: 'running', identity: null };
    return exitedWith(runDirectory, null);
  }

  async waitForExit(runDirectory: string, signal?: AbortSignal): Promise<Exited> {
    signal?.throwIfAborted();
    const abandon = new AbortController();
    try {
      return await new Promise<Exited>((resolve, reject) => {
        const watch: Watch = { runDirectory, identity: null, looking: false, hurried: false, resolve, reject };
        this.watches.add(watch);
        abandon.signal.addEventListener('abort', () => this.watches.delete(watch));
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { signal: abandon.signal });
        this.timer ??= setInterval(() => this.round(), WATCH_INTERVAL_MS);
        void this.look(watch);
      });
    } finally {
      abandon.abort();
      if (this.watches.size === 0 && this.timer !== null) {
        clearInterval(this.timer);
        this.timer = null;
      }
    }
  }

  async stop(runDirectory: string, graceMs: number): Promise<'SIGTERM' | 'SIGKILL' | 'none'> {
    await claimForStop(runDirectory);
    const identity = await this.identity(runDirectory);
    if (identity === null) return 'none';
    await writeFile(join(runDirectory, 'stop_requested'), '');
    if (!signalProcess(identity, 'SIGTERM')) {
      await this.waitForExit(runDirectory);
      return 'none';
    }
    const graceEnds = performance.now() + graceMs;
    for (let left = graceMs; left > 0; left = graceEnds - performance.now()) {
      if (await this.endsWithin(runDirectory, Math.min(left, REPEAT_SIGTERM_MS))) return 'SIGTERM';
      signalProcess(identity, 'SIGTERM');
    }
    signalProcess(identity, 'SIGKILL');
    if (await this.endsWithin(runDirectory, PATIENCE_MS)) return 'SIGKILL';
    throw new Error(
      `process ${identity.pid} (${runDirectory}) is still there ${PATIENCE_MS} ms after SIGKILL; it hangs in the kernel, probably on its storage`,
    );
  }

  async forget(runDirectory: string): Promise<void> {
    const status = await this.status(runDirectory);
    if (status.state === 'running') throw new Error(`run directory ${runDirectory} cannot be forgotten while its process runs`);
    await rm(runDirectory, { recursive: true, force: true });
  }

  /** Resolves once there is a process, or its end is recorded. */
  private async appearance(runDirectory: string, argv: readonly [string, ...string[]]): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, 50)) {
      const status = await this.status(runDirectory);
      if (status.state === 'exited' || (status.state === 'running' && status.identity !== null)) return;
      if (performance.now() > deadline) throw new ToolError('tool_timeout', argv, null, '', `showed no sign of life within ${PATIENCE_MS} ms of its start`);
      await pause(pauseMs);
    }
  }

  /** The process to stop; null when it has ended. Waits for one that is just starting. */
  private async identity(runDirectory: string): Promise<ProcessIdentity | null> {
    for (;;) {
      const status = await this.status(runDirectory);
      if (status.state !== 'running') return null;
      if (status.identity !== null) return status.identity;
      await pause(5);
    }
  }

  private async endsWithin(runDirectory: string, limitMs: number): Promise<boolean> {
    const limit = AbortSignal.timeout(Math.ceil(limitMs));
    try {
      await this.waitForExit(runDirectory, limit);
      return true;
    } catch (error) {
      if (limit.aborted) return false;
      throw error;
    }
  }

  private lookAt(runDirectory: string): void {
    for (const watch of this.watches) {
      if (watch.runDirectory === runDirectory) void this.look(watch);
    }
  }

  private awaitLastWords(watch: Watch): void {
    if (watch.hurried) return;
    watch.hurried = true;
    setTimeout(() => {
      watch.hurried = false;
      if (this.watches.has(watch)) void this.look(watch);
    }, LAST_WORDS_MS);
  }

  private round(): void {
    for (const watch of this.watches) {
      if (!watch.looking && (watch.identity === null || !isAlive(watch.identity))) void this.look(watch);
    }
  }

  private async look(watch: Watch): Promise<void> {
    watch.looking = true;
    try {
      const status = await this.status(watch.runDirectory);
      switch (status.state) {
        case 'running':
          watch.identity = status.identity;
          // The process is gone, but its shell has not written the exit code yet, which takes milliseconds.
          if (status.identity !== null && !isAlive(status.identity)) this.awaitLastWords(watch);
          break;
        case 'exited':
          watch.resolve(status);
          break;
        case 'absent':
          watch.resolve({ state: 'exited', exitCode: null, stderr: '', stopRequested: true });
          break;
      }
    } catch (error) {
      watch.reject(error);
    } finally {
      watch.looking = false;
    }
  }
}

const STOPPED_CLAIM = 'stopped\n';

/** Takes the claim if it is free, so that a spawned shell that has not claimed it yet starts nothing. */
async function claimForStop(runDirectory: string): Promise<void> {
  try {
    await writeFile(join(runDirectory, 'claim'), STOPPED_CLAIM, { flag: 'wx' });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST' && errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** Starts the shell. @returns a promise of its end, which may reject; polling notices the end then */
async function startShell(runDirectory: string, argv: readonly [string, ...string[]], options: StartOptions): Promise<{ readonly ended: Promise<unknown> }> {
  const [file, ...rest] = [
    ...(options.background === true ? IN_BACKGROUND : []),
    ...droppingCapabilities(readFileSync('/proc/self/status', 'utf8'), options.rights ?? 'none'),
    'sh',
    SCRIPT,
    runDirectory,
    options.captureFd3 === true ? '1' : '0',
    ...argv,
  ];
  const spawner = options.inherited === undefined ? currentSpawner() : null;
  try {
    if (spawner !== null) return await spawner.start([file, ...rest], options.env ?? {});
    await spawnSlot();
    return { ended: once(await spawnDetached([file, ...rest], options.env ?? {}, options.inherited), 'exit') };
  } catch (error) {
    const missing = errnoOf(error) === 'ENOENT';
    throw new ToolError(missing ? 'tool_missing' : 'tool_failed', [file, ...argv], null, '', missing ? 'is not in PATH' : `did not start: ${messageOf(error)}`);
  }
}

async function readExit(runDirectory: string): Promise<Exited | null> {
  const text = await readText(join(runDirectory, 'exit_code'));
  return text !== null && /^\d+\n$/.test(text) ? exitedWith(runDirectory, Number(text)) : null;
}

async function exitedWith(runDirectory: string, exitCode: number | null): Promise<Exited> {
  const [stderr, stopRequested] = await Promise.all([readTail(join(runDirectory, 'stderr')), readText(join(runDirectory, 'stop_requested'))]);
  return { state: 'exited', exitCode, stderr, stopRequested: stopRequested !== null };
}

/** @param text content of the file `process` or `claim` of a run directory; null: there is none */
export function parseIdentity(text: string | null): ProcessIdentity | null {
  const [, pid, startTicks, bootId] = /^(\d+) (\d+) (\S+)\n$/.exec(text ?? '') ?? [];
  return pid === undefined || startTicks === undefined || bootId === undefined ? null : { pid: Number(pid), start_ticks: startTicks, boot_id: bootId };
}

async function readTail(path: string): Promise<string> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - STDERR_TAIL_BYTES);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(STDERR_TAIL_BYTES), 0, STDERR_TAIL_BYTES, start);
    return storableText(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function ageMs(path: string): Promise<number> {
  try {
    return Date.now() - (await stat(path)).mtimeMs;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return Number.POSITIVE_INFINITY;
    throw error;
  }
}
