import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { HashAnswer, HashTask } from './sha256.worker.js';

interface Job {
  readonly path: string;
  readonly stop: Int32Array;
  readonly resolve: (sha256: string) => void;
  readonly reject: (error: unknown) => void;
}

interface HashingThread {
  readonly worker: Worker;
  job: Job | null;
}

/** A file could not be read to its end. */
export class HashingFailedError extends Error {
  override readonly name = 'HashingFailedError';
  constructor(
    readonly path: string,
    /** The system's word, such as ENOENT or EIO. */
    readonly code: string,
    message: string,
  ) {
    super(`${path} could not be hashed: ${message}`);
  }
}

/** The worker stands beside this file, compiled or not as this file is. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './sha256.worker.ts' : './sha256.worker.js', import.meta.url);

/** SHA-256 of whole files on threads of their own, one per core, so that hashing never holds up anything else. Further files wait in order. */
@Injectable()
export class FileHasher implements OnApplicationShutdown {
  private readonly waiting: Job[] = [];
  private readonly idle: HashingThread[] = [];
  private readonly threads = new Set<HashingThread>();
  private closed = false;

  /**
   * @returns lower-case hex
   * @throws HashingFailedError; or the signal's reason when that is aborted
   */
  async sha256(path: string, signal?: AbortSignal): Promise<string> {
    signal?.throwIfAborted();
    if (this.closed) throw new HashingFailedError(path, 'closed', 'the service is shutting down');
    const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const settled = new AbortController();
    try {
      return await new Promise<string>((resolve, reject) => {
        signal?.addEventListener(
          'abort',
          () => {
            Atomics.store(stop, 0, 1);
            reject(signal.reason as Error); // an abort reason is whatever the caller chose to throw
          },
          { signal: settled.signal },
        );
        this.waiting.push({ path, stop, resolve, reject });
        this.next();
      });
    } finally {
      settled.abort();
    }
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    for (const job of this.waiting.splice(0)) job.reject(new HashingFailedError(job.path, 'closed', 'the service is shutting down'));
    await Promise.all([...this.threads].map((thread) => thread.worker.terminate()));
  }

  private next(): void {
    while (this.waiting.length > 0) {
      const thread = this.idle.pop() ?? (this.threads.size < availableParallelism() ? this.hire() : null);
      const job = thread === null ? undefined : this.waiting.shift();
      if (thread === null || job === undefined) return;
      thread.job = job;
      thread.worker.ref();
      const task: HashTask = { path: job.path, stop: job.stop };
      thread.worker.postMessage(task);
    }
  }

  private hire(): HashingThread {
    const thread: HashingThread = { worker: new Worker(WORKER), job: null };
    this.threads.add(thread);
    thread.worker.on('message', (answer: HashAnswer) => {
      const { job } = thread;
      thread.job = null;
      // An idle thread keeps nobody from ending.
      thread.worker.unref();
      this.idle.push(thread);
      if ('sha256' in answer) job?.resolve(answer.sha256);
      else if ('error' in answer) job?.reject(new HashingFailedError(job.path, answer.error.code, answer.error.message));
      this.next();
    });
    thread.worker.on('error', (error: Error) => this.lost(thread, error.message));
    thread.worker.on('exit', () => this.lost(thread, 'the hashing thread ended'));
    return thread;
  }

  private lost(thread: HashingThread, reason: string): void {
    if (!this.threads.delete(thread)) return;
    const place = this.idle.indexOf(thread);
    if (place !== -1) this.idle.splice(place, 1);
    thread.job?.reject(new HashingFailedError(thread.job.path, 'worker_lost', reason));
    if (!this.closed) this.next();
  }
}
