import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { storageSilent } from '../storage-worker/storage-worker.js';
import { siblingProgram } from '../../lib/process/sibling-program.js';
import { toolEnvironment } from '../../lib/process/tool-environment.js';
import type { FileHashes, HashAnswer, HashTask } from './sha256.process.js';
import type { ContentTask } from './stored-content.js';

interface Job {
  readonly path: string;
  readonly content: ContentTask | null;
  readonly onRead: (bytes: number) => void;
  readonly resolve: (hashes: FileHashes) => void;
  readonly reject: (error: unknown) => void;
}

interface HashingProcess {
  readonly child: ChildProcess;
  job: Job | null;
  /** performance.now() of its last message. */
  heardMs: number;
}

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
const LOOK_MS = 1_000;

const PROGRAM = siblingProgram(new URL('./sha256.process.js', import.meta.url));

/**
 * Computes SHA-256 of whole files, and content digests of the disks they hold, in separate processes, one per core, so that neither hashing nor a hanging file
 * system blocks anything else. Further files wait in order.
 */
@Injectable()
export class FileHasher implements OnApplicationShutdown {
  private readonly waiting: Job[] = [];
  private readonly idle: HashingProcess[] = [];
  private readonly processes = new Set<HashingProcess>();
  private look: NodeJS.Timeout | null = null;
  private closed = false;

  /**
   * @param onRead called about once a second with the number of bytes read so far
   * @returns lower-case hex
   * @throws HashingFailedError; storageSilent's error; or the signal's reason when that is aborted
   */
  async sha256(path: string, signal?: AbortSignal, onRead: (bytes: number) => void = () => undefined): Promise<string> {
    return (await this.hashes(path, null, signal, onRead)).sha256;
  }

  /**
   * Computes both with a single read of the file.
   * @param content the digest to compute of the disk in the QCOW2 file; null: none
   * @throws as sha256
   */
  async hashes(path: string, content: ContentTask | null, signal?: AbortSignal, onRead: (bytes: number) => void = () => undefined): Promise<FileHashes> {
    signal?.throwIfAborted();
    if (this.closed) throw new HashingFailedError(path, 'closed', 'the service is shutting down');
    const settled = new AbortController();
    try {
      return await new Promise<FileHashes>((resolve, reject) => {
        const job = { path, content, onRead, resolve, reject };
        signal?.addEventListener('abort', () => this.abandon(job, signal.reason), { signal: settled.signal });
        this.waiting.push(job);
        this.next();
      });
    } finally {
      settled.abort();
    }
  }

  /** Does not wait for the processes: they may hang in the kernel. */
  onApplicationShutdown(): void {
    this.closed = true;
    for (const job of this.waiting.splice(0)) job.reject(new HashingFailedError(job.path, 'closed', 'the service is shutting down'));
    for (const one of this.processes) this.end(one, (path) => new HashingFailedError(path, 'closed', 'the service is shutting down'));
  }

  private abandon(job: Job, reason: unknown): void {
    job.reject(reason);
    const place = this.waiting.indexOf(job);
    if (place !== -1) this.waiting.splice(place, 1);
    for (const one of this.processes) if (one.job === job) this.end(one, () => reason);
  }

  private next(): void {
    while (this.waiting.length > 0) {
      const free = this.idle.pop() ?? (this.processes.size < availableParallelism() ? this.hire() : null);
      const job = free === null ? undefined : this.waiting.shift();
      if (free === null || job === undefined) break;
      free.job = job;
      free.heardMs = performance.now();
      // An idle process does not keep this program running.
      free.child.ref();
      free.child.channel?.ref();
      free.child.send({ path: job.path, content: job.content } satisfies HashTask, (error) => {
        if (error !== null) this.end(free, (path) => new HashingFailedError(path, 'process_lost', error.message));
      });
    }
    this.look ??= setInterval(() => this.lookAtAll(), LOOK_MS).unref();
  }

  private lookAtAll(): void {
    for (const one of this.processes) {
      if (performance.now() - one.heardMs > (one.job === null ? IDLE_MS : SILENT_MS)) this.end(one, storageSilent);
    }
    if (this.processes.size > 0 || this.look === null) return;
    clearInterval(this.look);
    this.look = null;
  }

  private hire(): HashingProcess {
    const child = spawn(process.execPath, PROGRAM, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], cwd: '/', env: toolEnvironment() });
    const one: HashingProcess = { child, job: null, heardMs: performance.now() };
    this.processes.add(one);
    child.on('message', (message) => this.onAnswer(one, message as HashAnswer)); // sent by our own program
    const lost = (path: string): HashingFailedError => new HashingFailedError(path, 'process_lost', 'the hashing process ended');
    child.once('error', () => this.end(one, lost));
    child.once('exit', () => this.end(one, lost));
    return one;
  }

  private onAnswer(one: HashingProcess, answer: HashAnswer): void {
    one.heardMs = performance.now();
    const { job } = one;
    if (job === null) return;
    if ('read' in answer) {
      job.onRead(answer.read);
      return;
    }
    one.job = null;
    one.child.unref();
    one.child.channel?.unref();
    this.idle.push(one);
    if ('hashes' in answer) job.resolve(answer.hashes);
    else job.reject(new HashingFailedError(job.path, answer.error.code, answer.error.message));
    this.next();
  }

  /** Frees its slot immediately, even if the process hangs in the kernel and does not exit. */
  private end(one: HashingProcess, error: (path: string) => unknown): void {
    if (!this.processes.delete(one)) return;
    const place = this.idle.indexOf(one);
    if (place !== -1) this.idle.splice(place, 1);
    one.child.kill('SIGKILL');
    one.child.unref();
    one.child.channel?.unref();
    one.job?.reject(error(one.job.path));
    one.job = null;
    if (!this.closed) this.next();
  }
}
