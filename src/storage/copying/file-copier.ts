import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error.js';
import { siblingProgram } from '../../lib/process/sibling-program.js';
import { WorkerError, WorkerProcess } from '../../lib/process/worker-process.js';
import { storageSilent } from '../storage-worker/storage-worker.js';
import { COPY_DIFFERS, type FileCopyResult, type FileCopyTask, type FileHealTask, type HealedRange, NOTHING_SOUND, SOURCE_ALTERED } from './file-copy.js';

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
    return (await this.perform(task, signal, onProgress)) as FileCopyResult; // file-copy.process answers a FileCopyTask
  }

  /**
   * Writes a damaged file again next to it, and reads it back. The new file is read-only and durable afterwards; the damaged one is not touched.
   * @returns the parts that came from sources
   * @throws DomainError `nothing_sound` (conflict); as copy
   */
  async heal(task: FileHealTask, signal?: AbortSignal): Promise<readonly HealedRange[]> {
    return (await this.perform(task, signal, () => undefined)) as readonly HealedRange[]; // file-copy.process answers a FileHealTask
  }

  /** Does not wait for the processes: they may hang in the kernel. */
  onApplicationShutdown(): void {
    this.shutdown.abort(interrupted('the service is shutting down'));
    this.rested?.end(null);
  }

  private async perform(task: FileCopyTask | FileHealTask, signal: AbortSignal | undefined, onProgress: (bytes: number) => void): Promise<unknown> {
    const stop = AbortSignal.any([...(signal === undefined ? [] : [signal]), this.shutdown.signal]);
    stop.throwIfAborted();
    const worker = this.next();
    const end = (): void => worker.end(stop.reason);
    stop.addEventListener('abort', end, { once: true });
    const silent = setTimeout(() => worker.end(storageSilent(task.target)), SILENT_MS);
    try {
      return await worker.call(task, (bytes) => {
        silent.refresh();
        onProgress(bytes);
      });
    } catch (error) {
      throw error instanceof WorkerError ? refusalOf(error, task) : error;
    } finally {
      clearTimeout(silent);
      stop.removeEventListener('abort', end);
      this.rest(worker);
    }
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

function refusalOf(error: WorkerError, task: FileCopyTask | FileHealTask): Error {
  const { target } = task;
  const source = 'damaged' in task ? task.damaged : task.source;
  switch (error.code) {
    case NOTHING_SOUND:
      return new DomainError('conflict', NOTHING_SOUND, `The file "${source ?? target}" cannot be healed: ${error.message}.`, { path: source });
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
