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
  private readonly idle: Worker[] = [];
  private readonly all = new Set<Worker>();
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
    await Promise.all([...this.all].map((worker) => worker.terminate()));
  }

  private next(): void {
    if (this.waiting.length === 0) return;
    const worker = this.idle.pop() ?? (this.all.size < availableParallelism() ? this.hire() : null);
    if (worker === null) return;
    const job = this.waiting.shift();
    if (job === undefined) return;
    const done = (): void => {
      worker.removeAllListeners();
      worker.unref();
    };
    worker.ref();
    worker.once('message', (answer: HashAnswer) => {
      done();
      this.idle.push(worker);
      if ('sha256' in answer) job.resolve(answer.sha256);
      else if ('error' in answer) job.reject(new HashingFailedError(job.path, answer.error.code, answer.error.message));
      this.next();
    });
    const lost = (reason: string): void => {
      done();
      this.all.delete(worker);
      job.reject(new HashingFailedError(job.path, 'worker_lost', reason));
      this.next();
    };
    worker.once('error', (error) => lost(error.message));
    worker.once('exit', () => lost('the hashing thread ended'));
    const task: HashTask = { path: job.path, stop: job.stop };
    worker.postMessage(task);
  }

  private hire(): Worker {
    const worker = new Worker(WORKER);
    this.all.add(worker);
    return worker;
  }
}
