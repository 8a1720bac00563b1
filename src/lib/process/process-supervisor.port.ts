/** Names one process for good, across restarts of ours and reuse of pids. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: start time in clock ticks since boot. */
  readonly start_ticks: string;
  /** /proc/sys/kernel/random/boot_id */
  readonly boot_id: string;
}

export type SupervisedStatus =
  /** Nothing was ever started in this run directory. */
  | { readonly state: 'absent' }
  /** identity is null in the short time between the start and the first sign of life. */
  | { readonly state: 'running'; readonly identity: ProcessIdentity | null }
  /**
   * exitCode is null when it was killed together with its supervisor and nobody saw the code; 128+n after signal n; 127 when the tool was not found.
   * stderr: the end, 4 KiB at most. stopRequested: stop() was called on it before it ended, also by an earlier process of ours.
   */
  | { readonly state: 'exited'; readonly exitCode: number | null; readonly stderr: string; readonly stopRequested: boolean };

/**
 * Which of the rights that its service gives this program (ambient capabilities) a tool gets as well. `none`: what it works with is its account's, or comes to it through open sockets;
 * `files`: it opens files of others, so it passes over file modes; `all`: it mounts. Of root's rights nothing is taken away.
 */
export type ToolRights = 'none' | 'files' | 'all';

export interface StartOptions {
  /** Bytes written to file descriptor 3 go to the file `fd3` of the run directory (nbdcopy --progress=3). */
  readonly captureFd3?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Open files that the tool gets as well, and keeps open; see inheritedName. */
  readonly inherited?: readonly number[];
  /** Default: none. */
  readonly rights?: ToolRights;
  /** Yields the processor to whoever answers people: movers of many blocks must not slow down the control plane beside them. */
  readonly background?: boolean;
}

/**
 * Runs long-lived tools (qemu-nbd, nbdcopy) detached, each with a run directory of its own that holds pid, stdout, stderr and exit code. The run directory is all
 * that is needed to find, watch and stop the process again after the starter was killed, including its exit code.
 */
export abstract class ProcessSupervisor {
  /** Starts argv unless the run directory shows that it was started before (then nothing happens). Resolves once the process exists or has failed to start. */
  abstract start(runDirectory: string, argv: readonly [string, ...string[]], options?: StartOptions): Promise<void>;
  abstract status(runDirectory: string): Promise<SupervisedStatus>;
  /**
   * Resolves when the process has ended. Detects it within 250 ms, also for one that another process of ours started. Resolves as stopped when the run directory
   * is absent or goes away, because only an ended process is ever forgotten. Rejects with the signal's reason when that is aborted.
   */
  abstract waitForExit(runDirectory: string, signal?: AbortSignal): Promise<Extract<SupervisedStatus, { state: 'exited' }>>;
  /**
   * SIGTERM, repeated now and then, and after graceMs SIGKILL; resolves when it is gone. `none`: it had ended already (or was never started, and a start still under way will not happen).
   */
  abstract stop(runDirectory: string, graceMs: number): Promise<'SIGTERM' | 'SIGKILL' | 'none'>;
  /** Deletes the run directory of an ended process. Throws while it runs. */
  abstract forget(runDirectory: string): Promise<void>;
}
