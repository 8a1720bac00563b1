import { availableParallelism } from 'node:os';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import pLimit from 'p-limit';
import { siblingProgram } from '../../lib/process/sibling-program.js';
import { WorkerError, WorkerProcess } from '../../lib/process/worker-process.js';
import { storageSilent } from '../storage-worker/storage-worker.js';
import type { FileHashes, HashTask } from './sha256.process.js';

/** A file could not be read to its end. */
export class HashingFailedError extends Error {
  override readonly name = 'HashingFailedError';
  constructor(
    readonly path: string,
    /** The system error code, such as ENOENT or EIO; `qcow2_unreadable`; `closed` and `process_lost` are not about the file. */
    readonly code: string,
    message: string,
  ) {
    super(`${path} could not be hashed: ${message}`);
  }

  get saysOfTheFile(): boolean {
    return this.code !== 'closed' && this.code !== 'process_lost';
  }
}

/** A process that has not read a mebibyte for this long hangs on its storage. */
const SILENT_MS = 120_000;
/** An idle process exits after this time to release its memory. */
const IDLE_MS = 60_000;

const PROGRAM = siblingProgram(new URL('./sha256.process.js', import.meta.url));

/**
 * Computes SHA-256 of whole files and of their blocks, and content digests of the disks they hold, in separate processes, one per core, so that neither hashing
 * nor a hanging file system blocks anything else. Further files wait in order.
 */
@Injectable()
export class FileHasher implements OnApplicationShutdown {
  private readonly slots = pLimit(availableParallelism());
  private readonly idle = new Map<WorkerProcess, NodeJS.Timeout>();
  private readonly shutdown = new AbortController();

  /**
   * @param onRead called about once a second with the number of bytes read so far
   * @returns lower-case hex
   * @throws HashingFailedError; storageSilent's error; or the signal's reason when that is aborted
   */
  async sha256(path: string, signal?: AbortSignal, onRead: (bytes: number) => void = () => undefined): Promise<string> {
    return (await this.hashes({ path, content: null, blocks: null }, signal, onRead)).sha256;
  }

  /**
   * Computes all that is requested with a single read of the file.
   * @throws as sha256
   */
  async hashes(task: HashTask, signal?: AbortSignal, onRead: (bytes: number) => void = () => undefined): Promise<FileHashes> {
    const stop = AbortSignal.any([...(signal === undefined ? [] : [signal]), this.shutdown.signal]);
    const settled = new AbortController();
    const stopped = new Promise<never>((_, reject) => {
      stop.addEventListener('abort', () => reject(stop.reason as Error), { signal: settled.signal }); // aborted with an Error
    });
    try {
      stop.throwIfAborted();
      return await Promise.race([stopped, this.slots(() => this.hash(task, stop, onRead))]);
    } catch (error) {
      throw error instanceof WorkerError ? new HashingFailedError(task.path, error.code ?? 'unknown', error.message) : error;
    } finally {
      settled.abort();
    }
  }

  /** Does not wait for the processes: they may hang in the kernel. */
  onApplicationShutdown(): void {
    this.shutdown.abort(new WorkerError('closed', 'the service is shutting down'));
    for (let worker = this.rested(); worker !== null; worker = this.rested()) worker.end(null);
  }

  private async hash(task: HashTask, stop: AbortSignal, onRead: (bytes: number) => void): Promise<FileHashes> {
    stop.throwIfAborted();
    const worker = this.rested() ?? new WorkerProcess(PROGRAM, () => new WorkerError('process_lost', 'the hashing process ended'));
    // The slot is free immediately, even if the process hangs in the kernel and does not exit.
    const end = (): void => worker.end(stop.reason);
    stop.addEventListener('abort', end, { once: true });
    const silent = setTimeout(() => worker.end(storageSilent(task.path)), SILENT_MS);
    try {
      const answer = await worker.call(task, (bytes) => {
        silent.refresh();
        onRead(bytes);
      });
      return answer as FileHashes; // sha256.process answers a HashTask
    } finally {
      clearTimeout(silent);
      stop.removeEventListener('abort', end);
      if (!worker.ended) this.rest(worker);
    }
  }

  private rest(worker: WorkerProcess): void {
    const end = (): void => {
      this.idle.delete(worker);
      worker.end(null);
    };
    this.idle.set(worker, setTimeout(end, IDLE_MS).unref());
  }

  private rested(): WorkerProcess | null {
    for (const [worker, timer] of this.idle) {
      clearTimeout(timer);
      this.idle.delete(worker);
      if (!worker.ended) return worker;
    }
    return null;
  }
}
