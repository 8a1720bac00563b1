import pLimit from 'p-limit';
import { DomainError } from '../../kernel/domain-error.js';
import type { Logger } from '../../lib/logging/logger.js';
import { siblingProgram } from '../../lib/process/sibling-program.js';
import { spawnSlot } from '../../lib/process/spawn-throttle.js';
import { WorkerProcess } from '../../lib/process/worker-process.js';
import { StorageGate } from '../../lib/concurrency/storage-gate.js';
import { type CallName, DIRECT_CALLS, type FileCalls } from './file-calls.js';

/** Calls that move data and may take long. Meanwhile the file system must keep answering other calls. */
const LONG_CALLS: ReadonlySet<CallName> = new Set(['removeTree', 'syncToDisk', 'writeDurably', 'tryWriting', 'measure', 'sha256']);
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

/**
 * Storage worker: performs all file operations of one place in its own process, started on demand. Every call has a deadline. Once a call passes it, the file
 * system counts as silent: all waiting calls fail, and new ones fail immediately, until every hanging call has returned.
 */
export class StorageWorker {
  readonly calls: FileCalls;
  private readonly gate: StorageGate;
  private worker: WorkerProcess | null = null;
  private starting: Promise<WorkerProcess> | null = null;
  private readonly longCalls = pLimit(LONG_CALLS_AT_ONCE);
  private pinging = false;
  private idle: NodeJS.Timeout | null = null;
  private closed = false;

  /** @param answerMs time limit for calls that move no data; read at every call */
  constructor(
    private readonly place: string,
    private readonly answerMs: () => number,
    log: Logger,
  ) {
    const calls = {} as Record<CallName, (...args: (string | number | null)[]) => Promise<unknown>>; // filled by the next line
    for (const name of Object.keys(DIRECT_CALLS) as CallName[]) calls[name] = async (...args) => this.ask(name, args); // keys of a literal
    // The process returns the result type of the call of that name: both ends are compiled from FileCalls.
    this.calls = calls as unknown as FileCalls;
    this.gate = new StorageGate({
      silence: () => storageSilent(place),
      onSilent: () => log.warn('file system does not answer', { place, calls: this.gate.accesses }),
      onAnswer: () => {
        if (!this.closed) log.info('file system is used again', { place });
        this.restWhenIdle();
      },
    });
  }

  /** Milliseconds since the file system stopped answering; 0 when nothing indicates that. Triggers a check without waiting for it. */
  silentMs(): number {
    if (this.gate.silentMs === 0) this.ping();
    return this.gate.silentMs;
  }

  /** All waiting and later calls fail with WorkerClosedError. Does not wait for the process to exit, because it may hang in the kernel. */
  close(): void {
    this.closed = true;
    this.gate.abandon(0, () => new WorkerClosedError(this.place));
    if (this.idle !== null) clearTimeout(this.idle);
    this.worker?.kill();
  }

  private async ask(call: CallName, args: readonly (string | number | null)[]): Promise<unknown> {
    if (!LONG_CALLS.has(call)) return this.request(call, args, this.answerMs());
    return this.longCalls(async () => {
      // Separate calls: when one passes its deadline, the long call is abandoned as well.
      const pings = setInterval(() => this.ping(), this.answerMs());
      try {
        return await this.request(call, args, LONG_CALL_MS);
      } finally {
        clearInterval(pings);
      }
    });
  }

  private ping(): void {
    if (this.pinging || this.closed) return;
    this.pinging = true;
    // The outcome shows at the gate.
    this.request('space', [this.place], this.answerMs())
      .catch(() => undefined)
      .finally(() => {
        this.pinging = false;
      });
  }

  /** @throws WorkerClosedError, storageSilent, and the system's error with its `code` */
  private async request(call: CallName, args: readonly (string | number | null)[], deadlineMs: number): Promise<unknown> {
    if (this.closed) throw new WorkerClosedError(this.place);
    if (this.idle !== null) clearTimeout(this.idle);
    const timer = setTimeout(() => this.gate.foundSilent(deadlineMs), deadlineMs);
    try {
      return await this.gate.use(async () => (await this.process()).call({ call, args }));
    } finally {
      clearTimeout(timer);
      this.restWhenIdle();
    }
  }

  private async process(): Promise<WorkerProcess> {
    if (this.worker !== null) return this.worker;
    this.starting ??= this.start().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  private async start(): Promise<WorkerProcess> {
    await spawnSlot();
    if (this.closed) throw new WorkerClosedError(this.place);
    const worker = new WorkerProcess(
      PROGRAM,
      () => {
        if (this.worker === worker) this.worker = null;
        return new DomainError('unavailable', STORAGE_SILENT, `The storage worker for "${this.place}" has exited. Repeat the request.`);
      },
      { UV_THREADPOOL_SIZE: String(THREADS) },
    );
    this.worker = worker;
    return worker;
  }

  private restWhenIdle(): void {
    if (this.idle !== null) clearTimeout(this.idle);
    this.idle = null;
    const { worker } = this;
    if (worker === null || worker.pending > 0 || this.closed) return;
    this.idle = setTimeout(() => {
      if (this.worker !== worker || worker.pending > 0) return;
      this.worker = null;
      worker.end(storageSilent(this.place));
    }, IDLE_MS).unref();
  }
}
