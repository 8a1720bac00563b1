import type { CommandContext } from '../../../../kernel/command-context.js';
import type { NbdExportStartFailed } from './nbd-export.events.js';

export interface RequestedExport {
  readonly exportId: string;
  /** The job (backup) it belongs to. */
  readonly jobId: string;
  /** At most 64 bytes. */
  readonly exportName: string;
  /** A port that the job holds. */
  readonly port: number;
  /** Absolute path of a QCOW2 file. */
  readonly file: string;
  readonly readOnly: boolean;
  /** Client connections at most; 0: any number, so that connections that never show the key keep nobody out. */
  readonly sharedLimit: number;
  /** `unix`: for programs of the hub's own account; `tls`: for clients that have the export's key. */
  readonly transport: 'unix' | 'tls';
}

/**
 * Serves a file: answers with ExportOutcome once a client could complete the NBD handshake, or the start has failed, which is an outcome and no error. Repeated, it looks
 * at what is there and goes on; an export that has ended is not started again.
 */
export class RequestExport {
  constructor(
    readonly request: RequestedExport,
    readonly context: CommandContext,
  ) {}
}

/** Ends an export, also one that is just being started; SIGTERM, and SIGKILL where that does not help. Answers with ExportOutcome. */
export class StopExport {
  constructor(
    readonly exportId: string,
    readonly context: CommandContext,
  ) {}
}

/**
 * Looks at the server of an export that its client has lost, instead of waiting for the news of its end: answers with ExportOutcome, its end recorded if it has ended.
 */
export class ExamineExport {
  constructor(readonly exportId: string) {}
}

/** How an export stands after a command. `position` is that of the newest event of its stream; exit_code is null when nobody saw one. */
export type ExportOutcome =
  | { readonly status: 'started'; readonly pid: number; readonly position: string | null }
  | {
      readonly status: 'start_failed';
      readonly code: NbdExportStartFailed['data']['code'];
      readonly exit_code: number | null;
      /** The end of its standard error, 4 KiB at most. */
      readonly stderr: string;
      readonly position: string | null;
    }
  /** signal SIGKILL: it did not end by itself, so what it had not flushed is lost and its file is not to be trusted. */
  | { readonly status: 'stopped'; readonly signal: 'SIGTERM' | 'SIGKILL' | 'none'; readonly position: string | null }
  /** Ended by itself. */
  | { readonly status: 'exited'; readonly exit_code: number | null; readonly stderr: string; readonly position: string | null }
  /** Nobody ever asked for it. */
  | { readonly status: 'none'; readonly position: null };
