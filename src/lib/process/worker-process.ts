import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { toolEnvironment } from './tool-environment.js';

/** A task for a worker process. The worker is one of our programs, so both ends know what kind of task it takes. */
export interface WorkerRequest {
  readonly id: number;
  readonly task: unknown;
}

/** Any number of `progress` answers, then one of the others. */
export type WorkerAnswer =
  | { readonly id: number; readonly progress: number }
  | { readonly id: number; readonly ok: true; readonly result: unknown }
  | ({ readonly id: number; readonly ok: false } & WorkerFailure);

export interface WorkerFailure {
  /** The system error code, such as ENOENT, or one of the program's own; null for any other error. */
  readonly code: string | null;
  readonly message: string;
}

/** The worker could not perform a task. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError';
  constructor(
    readonly code: string | null,
    message: string,
  ) {
    super(message);
  }
}

interface Call {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onProgress: (progress: number) => void;
}

/** One of our programs in a separate process, see `serveParent`. Only pending tasks keep this program running. */
export class WorkerProcess {
  /** Resolves when the process is gone; a process that hangs in the kernel outlives `end`. */
  readonly gone: Promise<void>;
  /** Whether it takes no more tasks. */
  ended = false;
  private readonly child: ChildProcess;
  private readonly calls = new Map<number, Call>();
  private lastId = 0;

  /**
   * @param argv arguments for Node.js, see `siblingProgram`
   * @param onLost called once if the process ends by itself or cannot be reached; pending tasks are rejected with its result
   */
  constructor(
    argv: readonly string[],
    private readonly onLost: () => Error,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], cwd: '/', env: toolEnvironment(env) });
    this.gone = once(this.child, 'exit').then(
      () => undefined,
      () => undefined, // it could not be started
    );
    void this.gone.then(() => this.lost());
    this.child.on('error', () => this.lost());
    this.child.on('message', (message) => this.onAnswer(message as WorkerAnswer)); // sent by our own program
    this.keepProgramRunning(false);
  }

  /** Number of unanswered tasks. */
  get pending(): number {
    return this.calls.size;
  }

  /** @throws WorkerError; the result of `onLost`; the error of `end` */
  call(task: unknown, onProgress: Call['onProgress'] = () => undefined): Promise<unknown> {
    if (this.ended) return Promise.reject(this.onLost());
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, onProgress });
      this.keepProgramRunning(true);
      this.child.send({ id, task } satisfies WorkerRequest, (error) => {
        if (error !== null) this.lost();
      });
    });
  }

  /** Pending tasks are rejected once the process is gone. */
  kill(): void {
    this.child.kill('SIGKILL');
    this.keepProgramRunning(false);
  }

  /** Kills the process and rejects pending tasks without waiting for its exit. */
  end(error: unknown): void {
    this.ended = true;
    this.kill();
    for (const { reject } of this.calls.values()) reject(error);
    this.calls.clear();
  }

  private lost(): void {
    if (!this.ended) this.end(this.onLost());
  }

  private onAnswer(answer: WorkerAnswer): void {
    const call = this.calls.get(answer.id);
    if (call === undefined) return;
    if ('progress' in answer) {
      call.onProgress(answer.progress);
      return;
    }
    this.calls.delete(answer.id);
    if (this.calls.size === 0) this.keepProgramRunning(false);
    if (answer.ok) call.resolve(answer.result);
    else call.reject(new WorkerError(answer.code, answer.message));
  }

  private keepProgramRunning(yes: boolean): void {
    const { child } = this;
    if (yes) {
      child.ref();
      child.channel?.ref();
    } else {
      child.unref();
      child.channel?.unref();
    }
  }
}
