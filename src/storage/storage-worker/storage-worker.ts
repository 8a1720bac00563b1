import { type ChildProcess, spawn } from 'node:child_process';
import pLimit from 'p-limit';
import { DomainError } from '../../kernel/domain-error.js';
import type { Logger } from '../../lib/logging/logger.js';
import { siblingProgram } from '../../lib/process/sibling-program.js';
import { spawnSlot } from '../../lib/process/spawn-throttle.js';
import { toolEnvironment } from '../../lib/process/tool-environment.js';
import type { CallName, WorkerAnswer, WorkerRequest } from './worker-protocol.js';
import { DIRECT_CALLS, type FileCalls } from './file-calls.js';

/** Calls that move data and may take long. Meanwhile the file system must keep answering other calls. */
const LONG_CALLS: ReadonlySet<CallName> = new Set(['removeTree', 'syncToDisk', 'writeDurably', 'tryWriting', 'sha256']);
const LONG_CALL_MS = 60 * 60_000;
/** An idle process exits to release its memory. */
const IDLE_MS = 10 * 60_000;
/** Threads of the process: long calls must not delay the short ones that show that the file system answers. */
const THREADS = 16;
/** Concurrent long calls; further ones wait. */
const LONG_CALLS_AT_ONCE = 8;

const PROGRAM = siblingProgram(new URL('./storage-worker.process.js', import.meta.url));

export const STORAGE_SILENT = 'storage_silent';

/** The file system does not answer. */
export function storageSilent(path: string): DomainError {
  return new DomainError(
    'unavailable',
    STORAGE_SILENT,
    `The file system of "${path}" does not answer. Check the server or disk that it is on; the hub uses it again as soon as it answers.`,
    { path, reason: 'silent' },
  );
}

/** The hub is shutting down; it is unknown whether the call took effect. */
export class WorkerClosedError extends Error {
  override readonly name = 'WorkerClosedError';
  constructor(path: string) {
    super(`the hub is shutting down, and the file system of "${path}" has not answered`);
  }
}

interface Call {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Storage worker: performs all file operations of one place in its own process, started on demand. Every call has a deadline. Once a call passes it, the file
 * system counts as silent: all waiting calls fail, and new ones fail immediately, until every hanging call has returned.
 */
export class StorageWorker {
  readonly calls: FileCalls;
  private child: ChildProcess | null = null;
  private starting: Promise<ChildProcess> | null = null;
  private readonly waiting = new Map<number, Call>();
  /** Calls that timed out and still hang in the process. */
  private readonly overdue = new Set<number>();
  private readonly longCalls = pLimit(LONG_CALLS_AT_ONCE);
  private lastId = 0;
  private pinging = false;
  /** performance.now() when the first of the hanging calls was sent. */
  private silentSinceMs = 0;
  private idle: NodeJS.Timeout | null = null;
  private closed = false;

  /** @param answerMs time limit for calls that move no data; read at every call */
  constructor(
    private readonly place: string,
    private readonly answerMs: () => number,
    private readonly log: Logger,
  ) {
    const calls = {} as Record<CallName, (...args: (string | number)[]) => Promise<unknown>>; // filled by the next line
    for (const name of Object.keys(DIRECT_CALLS) as CallName[]) calls[name] = async (...args) => this.ask(name, args); // keys of a literal
    // The process returns the result type of the call of that name: both ends are compiled from FileCalls.
    this.calls = calls as unknown as FileCalls;
  }

  /** Milliseconds since the file system stopped answering; 0 when nothing indicates that. Triggers a check without waiting for it. */
  silentMs(): number {
    if (this.isSilent()) return Math.max(1, performance.now() - this.silentSinceMs);
    this.ping();
    return 0;
  }

  /** All waiting and later calls fail with WorkerClosedError. Does not wait for the process to exit, because it may hang in the kernel. */
  close(): void {
    this.closed = true;
    this.silentSinceMs = performance.now();
    for (const id of this.waiting.keys()) this.overdue.add(id);
    this.rejectAll(() => new WorkerClosedError(this.place));
    if (this.idle !== null) clearTimeout(this.idle);
    this.child?.kill('SIGKILL');
  }

  private isSilent(): boolean {
    return this.overdue.size > 0;
  }

  /** @throws WorkerClosedError, storageSilent */
  private refuse(): void {
    if (this.closed) throw new WorkerClosedError(this.place);
    if (this.isSilent()) throw storageSilent(this.place);
  }

  private async ask(call: CallName, args: readonly (string | number)[]): Promise<unknown> {
    return LONG_CALLS.has(call)
      ? this.longCalls(() => this.whilePinging(() => this.request(call, args, LONG_CALL_MS)))
      : this.request(call, args, this.answerMs());
  }

  private async whilePinging<Result>(work: () => Promise<Result>): Promise<Result> {
    // Separate calls: when one passes its deadline, the long call is abandoned as well.
    const pings = setInterval(() => this.ping(), this.answerMs());
    try {
      return await work();
    } finally {
      clearInterval(pings);
    }
  }

  private ping(): void {
    if (this.pinging || this.closed) return;
    this.pinging = true;
    // The outcome shows in isSilent().
    this.request('space', [this.place], this.answerMs())
      .catch(() => undefined)
      .finally(() => {
        this.pinging = false;
      });
  }

  private async request(call: CallName, args: readonly (string | number)[], deadlineMs: number): Promise<unknown> {
    this.refuse();
    if (this.idle !== null) clearTimeout(this.idle);
    const id = ++this.lastId;
    try {
      return await new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => this.giveUp(deadlineMs), deadlineMs);
        this.waiting.set(id, { resolve, reject, timer });
        this.send({ id, call, args }).catch((error: unknown) => this.settle(id)?.reject(error));
      });
    } finally {
      this.restWhenIdle();
    }
  }

  private async send(request: WorkerRequest): Promise<void> {
    const child = await this.process();
    child.send(request, (error) => {
      if (error !== null) this.lost(child);
    });
  }

  private async process(): Promise<ChildProcess> {
    if (this.child !== null) return this.child;
    this.starting ??= this.start().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async start(): Promise<ChildProcess> {
    await spawnSlot();
    const child = spawn(process.execPath, PROGRAM, {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      cwd: '/',
      env: toolEnvironment({ UV_THREADPOOL_SIZE: String(THREADS) }),
    });
    this.child = child;
    child.on('message', (message) => this.onAnswer(message as WorkerAnswer)); // sent by our own program
    child.once('error', () => this.lost(child));
    child.once('exit', () => this.lost(child));
    // Only a call in progress, through its deadline timer, keeps this program running.
    child.unref();
    child.channel?.unref();
    if (this.closed) child.kill('SIGKILL');
    return child;
  }

  private onAnswer(answer: WorkerAnswer): void {
    const call = this.settle(answer.id);
    if (call === null) this.returned(answer.id);
    else if (answer.ok) call.resolve(answer.result);
    else call.reject(Object.assign(new Error(answer.message), answer.code === null ? {} : { code: answer.code }));
  }

  /** @returns null for an abandoned call */
  private settle(id: number): Call | null {
    const call = this.waiting.get(id);
    if (call === undefined) return null;
    this.waiting.delete(id);
    clearTimeout(call.timer);
    return call;
  }

  private giveUp(deadlineMs: number): void {
    this.log.warn('file system does not answer', { place: this.place, waited_ms: deadlineMs, calls: this.waiting.size });
    this.silentSinceMs = performance.now() - deadlineMs;
    for (const id of this.waiting.keys()) this.overdue.add(id);
    this.rejectAll(() => storageSilent(this.place));
  }

  private rejectAll(error: () => Error): void {
    for (const id of [...this.waiting.keys()]) this.settle(id)?.reject(error());
  }

  private returned(id: number): void {
    if (!this.overdue.delete(id) || this.isSilent()) return;
    this.log.info('file system answers again', { place: this.place });
    this.restWhenIdle();
  }

  private lost(child: ChildProcess): void {
    if (this.child !== child) return;
    this.child = null;
    child.kill('SIGKILL');
    this.overdue.clear();
    this.rejectAll(() => new DomainError('unavailable', STORAGE_SILENT, `The storage worker for "${this.place}" has exited. Repeat the request.`));
  }

  private restWhenIdle(): void {
    if (this.idle !== null) clearTimeout(this.idle);
    this.idle = null;
    const { child } = this;
    if (child === null || this.waiting.size > 0 || this.isSilent() || this.closed) return;
    this.idle = setTimeout(() => {
      if (this.child !== child || this.waiting.size > 0) return;
      this.child = null;
      child.kill('SIGKILL');
    }, IDLE_MS).unref();
  }
}
