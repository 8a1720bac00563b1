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
  /** exitCode is null when it was killed together with its supervisor and nobody saw the code; 128+n after signal n. stderr: the end, 4 KiB at most. */
  | { readonly state: 'exited'; readonly exitCode: number | null; readonly stderr: string };

export interface StartOptions {
  /** Bytes written to file descriptor 3 go to the file `fd3` of the run directory (nbdcopy --progress=3). */
  readonly captureFd3?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs long-lived tools (qemu-nbd, nbdcopy) detached, each with a run directory of its own that holds pid, stdout, stderr and exit code. The run directory is all
 * that is needed to find, watch and stop the process again after the starter was killed, including its exit code.
 */
export abstract class ProcessSupervisor {
  /** Starts argv unless the run directory shows that it was started before (then nothing happens). Resolves once the process exists or has failed to start. */
  abstract start(runDirectory: string, argv: readonly [string, ...string[]], options?: StartOptions): Promise<void>;
  abstract status(runDirectory: string): Promise<SupervisedStatus>;
  /** Resolves when the process has ended. Detects it within 250 ms, also for one that another process of ours started. */
  abstract waitForExit(runDirectory: string, signal?: AbortSignal): Promise<Extract<SupervisedStatus, { state: 'exited' }>>;
  /** SIGTERM, after graceMs SIGKILL; resolves when it is gone. `none`: it had ended already (or was never started). */
  abstract stop(runDirectory: string, graceMs: number): Promise<'SIGTERM' | 'SIGKILL' | 'none'>;
  /** Deletes the run directory of an ended process. */
  abstract forget(runDirectory: string): Promise<void>;
}
