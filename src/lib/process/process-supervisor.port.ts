/** Identifies one process permanently, across our restarts and reuse of pids. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: start time in clock ticks since boot. */
  readonly start_ticks: string;
  /** /proc/sys/kernel/random/boot_id */
  readonly boot_id: string;
}

export type SupervisedStatus =
  /** No process was ever started in this run directory. */
  | { readonly state: 'absent' }
  /** identity is null for the short time between start and the first sign of life. */
  | { readonly state: 'running'; readonly identity: ProcessIdentity | null }
  /**
   * exitCode is null when the process was killed together with its supervisor, so that nobody saw the code; 128+n after signal n; 127 when the tool was not
   * found.
   * stderr: the end, at most 4 KiB. stopRequested: stop() was called before the process ended, possibly by an earlier process of ours.
   */
  | { readonly state: 'exited'; readonly exitCode: number | null; readonly stderr: string; readonly stopRequested: boolean };

/**
 * Which of this program's ambient capabilities a tool keeps. `none`: it uses only files of its own account, or open sockets passed to it; `files`: it opens
 * files of others, so it bypasses file modes; `all`: it mounts. Root's own rights are not reduced.
 */
export type ToolRights = 'none' | 'files' | 'all';

export interface StartOptions {
  /** Writes to file descriptor 3 go to the file `fd3` in the run directory (nbdcopy --progress=3). */
  readonly captureFd3?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Open files that the tool inherits and keeps open; see inheritedName. */
  readonly inherited?: readonly number[];
  /** Default: none. */
  readonly rights?: ToolRights;
  /** Yields the processor to interactive work: tools that move many blocks must not slow down the control plane. */
  readonly background?: boolean;
}

/**
 * Runs long-lived tools (qemu-nbd, nbdcopy) detached, each with its own run directory for pid, stdout, stderr and exit code. The run directory suffices to
 * find, watch and stop the process again after the starter was killed, and to learn its exit code.
 */
export abstract class ProcessSupervisor {
  /** Starts argv unless the run directory shows that it was started before; then it does nothing. Resolves once the process exists or has failed to start. */
  abstract start(runDirectory: string, argv: readonly [string, ...string[]], options?: StartOptions): Promise<void>;
  abstract status(runDirectory: string): Promise<SupervisedStatus>;
  /**
   * Resolves when the process has ended. Detects this within 250 ms, also for processes started by another process of ours. Resolves as stopped when the run
   * directory is absent or disappears, because only ended processes are forgotten. Rejects with the signal's reason when that is aborted.
   */
  abstract waitForExit(runDirectory: string, signal?: AbortSignal): Promise<Extract<SupervisedStatus, { state: 'exited' }>>;
  /**
   * Sends SIGTERM repeatedly, and after graceMs SIGKILL; resolves when the process is gone. `none`: it had already ended or was never started, and a start
   * still in progress will not happen.
   */
  abstract stop(runDirectory: string, graceMs: number): Promise<'SIGTERM' | 'SIGKILL' | 'none'>;
  /** Deletes the run directory of an ended process. Throws while the process is running. */
  abstract forget(runDirectory: string): Promise<void>;
}
