import { siblingProgram } from './sibling-program.js';
import { WorkerError, WorkerProcess } from './worker-process.js';

type Argv = readonly [string, ...string[]];

/** A tool to run until it exits; see RunToolOptions. */
export interface SpawnedTool {
  readonly argv: Argv;
  readonly options: {
    readonly deadlineMs?: number;
    readonly env?: Readonly<Record<string, string>>;
    readonly endsWithUs?: boolean;
    readonly expectedExitCodes?: readonly number[];
  };
}

/** A ToolError as plain data. */
export interface ToolFailure {
  readonly code: 'tool_missing' | 'tool_failed' | 'tool_timeout';
  readonly exitCode: number | null;
  readonly stderrTail: string;
  readonly reason: string;
  readonly endedBy: string | null;
}

export type SpawnedToolOutcome =
  { readonly output: { readonly stdout: string; readonly stderr: string; readonly exitCode: number } } | { readonly failure: ToolFailure };

/** Tasks of the spawner process. */
export type SpawnTask =
  /** Answered with the pid of the detached process. */
  | { readonly kind: 'start'; readonly argv: Argv; readonly env: Readonly<Record<string, string>> }
  /** Answered when that process has ended. */
  | { readonly kind: 'await_end'; readonly pid: number }
  /** Answered with a SpawnedToolOutcome. `key` names it for a cancellation. */
  | { readonly kind: 'run'; readonly key: number; readonly tool: SpawnedTool }
  | { readonly kind: 'cancel'; readonly key: number };

const PROGRAM = siblingProgram(new URL('./spawner.process.js', import.meta.url));
const LOST = 'was lost with the process that ran it';

/**
 * Starts processes from a small helper process, for a program that uses much memory. A fork copies the page tables of the forking process: that blocks a hub for
 * milliseconds and until the child has executed the tool, and afterwards each page that the hub changes faults once.
 */
export class Spawner {
  private worker: WorkerProcess | null = null;
  private lastKey = 0;

  /** Starts its process, so that the first tool need not wait for it. */
  constructor() {
    this.process();
  }

  /**
   * Starts a detached process in a session of its own, without standard streams.
   * @returns a promise of its end, which rejects if that can no longer be noticed
   * @throws WorkerError with the system's code
   */
  async start(argv: Argv, env: Readonly<Record<string, string>>): Promise<{ readonly ended: Promise<unknown> }> {
    const worker = this.process();
    const pid = await worker.call({ kind: 'start', argv, env } satisfies SpawnTask);
    return { ended: worker.call({ kind: 'await_end', pid: pid as number } satisfies SpawnTask) }; // spawner.process answers with a pid
  }

  /** @throws the reason of the signal, once the tool has been killed */
  async run(tool: SpawnedTool, signal?: AbortSignal): Promise<SpawnedToolOutcome> {
    signal?.throwIfAborted();
    const worker = this.process();
    const key = ++this.lastKey;
    const cancel = (): void => void worker.call({ kind: 'cancel', key } satisfies SpawnTask).catch(() => undefined);
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return (await worker.call({ kind: 'run', key, tool } satisfies SpawnTask)) as SpawnedToolOutcome; // as spawner.process answers
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof WorkerError) || error.code !== SPAWNER_LOST) throw error;
      return { failure: { code: 'tool_failed', exitCode: null, stderrTail: '', reason: LOST, endedBy: 'SIGKILL' } };
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Kills its process. Detached processes keep running. */
  end(): void {
    this.worker?.end(lost());
  }

  private process(): WorkerProcess {
    if (this.worker === null || this.worker.ended) this.worker = new WorkerProcess(PROGRAM, lost);
    return this.worker;
  }
}

const SPAWNER_LOST = 'spawner_lost';

function lost(): WorkerError {
  return new WorkerError(SPAWNER_LOST, 'the process that starts others has ended');
}

let spawner: Spawner | null = null;

/** From now on, this program starts tools through a spawner, except those that inherit its files. */
export function useSpawner(): void {
  spawner ??= new Spawner();
}

/** null: this program starts its tools itself. */
export function currentSpawner(): Spawner | null {
  return spawner;
}
