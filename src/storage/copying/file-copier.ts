import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { siblingProgram } from '../../lib/process/sibling-program.js';
import { WorkerError, WorkerProcess } from '../../lib/process/worker-process.js';
import { storageSilent } from '../storage-worker/storage-worker.js';
import { COPY_DIFFERS, type FileCopyResult, type FileCopyTask, SOURCE_ALTERED } from './file-copy.js';

const PROGRAM = siblingProgram(new URL('./file-copy.process.js', import.meta.url));
/** Without a report for this long the process hangs. Syncing gigabytes to a slow disk takes minutes without one. */
const SILENT_MS = 60 * 60_000;

/** Copies files in processes of their own, so that neither copying nor a hanging file system blocks anything else. */
@Injectable()
export class FileCopier implements OnApplicationShutdown {
  private readonly shutdown = new AbortController();
  /** A process that waits for the next file; null: none. It ends with this program. */
  private rested: WorkerProcess | null = null;

  /**
   * Copies a file, or completes what an interrupted call left, and reads the copy back. The target is read-only and durable afterwards.
   * @param onProgress called about once a second with the bytes copied so far and then read back so far, together
   * @throws DomainError `source_altered`, `copy_differs` (conflict), `copy_interrupted` (unavailable); WorkerError with a system error's code; storageSilent's
   * error; the signal's reason
   */
  async copy(task: FileCopyTask, signal?: AbortSignal, onProgress: (bytes: number) => void = () => undefined): Promise<FileCopyResult> {
    const stop = AbortSignal.any([...(signal === undefined ? [] : [signal]), this.shutdown.signal]);
    stop.throwIfAborted();
    const worker = this.next();
    const end = (): void => worker.end(stop.reason);
    stop.addEventListener('abort', end, { once: true });
    const silent = setTimeout(() => worker.end(storageSilent(task.target)), SILENT_MS);
    try {
      const answer = await worker.call(task, (bytes) => {
        silent.refresh();
        onProgress(bytes);
      });
      return answer as FileCopyResult; // file-copy.process answers a FileCopyTask
    } catch (error) {
      throw error instanceof WorkerError ? refusalOf(error, task) : error;
    } finally {
      clearTimeout(silent);
      stop.removeEventListener('abort', end);
      this.rest(worker);
    }
  }

  /** Does not wait for the processes: they may hang in the kernel. */
  onApplicationShutdown(): void {
    this.shutdown.abort(interrupted('the service is shutting down'));
    this.rested?.end(null);
  }

  private next(): WorkerProcess {
    const rested = this.rested;
    this.rested = null;
    if (rested !== null && !rested.ended) return rested;
    return new WorkerProcess(PROGRAM, () => interrupted('the copying process ended unexpectedly'));
  }

  private rest(worker: WorkerProcess): void {
    if (this.rested === null && !worker.ended && !this.shutdown.signal.aborted) this.rested = worker;
    else worker.end(null);
  }
}

function interrupted(why: string): DomainError {
  return new DomainError('unavailable', 'copy_interrupted', `The copy was interrupted: ${why}. It continues at the block it had reached.`);
}

function refusalOf(error: WorkerError, { source, target }: FileCopyTask): Error {
  switch (error.code) {
    case SOURCE_ALTERED:
      return new DomainError('conflict', SOURCE_ALTERED, `The file "${source ?? target}" differs from what was sealed: ${error.message}.`, { path: source });
    case COPY_DIFFERS:
      return new DomainError('unavailable', COPY_DIFFERS, `The copy "${target}" differs from its source after it was read back: ${error.message}.`, {
        path: target,
      });
    default:
      return error;
  }
}
