import { Command } from '@nestjs/cqrs';
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
  /** Maximum number of client connections; 0: unlimited, so that connections that never present the key cannot lock out clients that have it. */
  readonly sharedLimit: number;
  /** `unix`: for programs of the hub's own account; `tls`: for clients that have the export's key. */
  readonly transport: 'unix' | 'tls';
}

/**
 * Serves a file. Answers once an NBD handshake has succeeded or the start has failed; a failed start is an outcome, not an error.
 * A repeated request continues from the current state; an export that has ended is not started again.
 */
export class RequestExport extends Command<ExportOutcome> {
  constructor(
    readonly request: RequestedExport,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Ends an export, even while it is starting: SIGTERM, then SIGKILL if the server does not exit. */
export class StopExport extends Command<ExportOutcome> {
  constructor(
    readonly exportId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Checks the server of an export after its client has lost the connection, without waiting for the watcher. If the server has ended, records that first.
 */
export class ExamineExport extends Command<ExportOutcome> {
  constructor(readonly exportId: string) {
    super();
  }
}

/** State of an export after a command. `position` is that of the newest event of its stream; exit_code is null if it is unknown. */
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
  /** signal SIGKILL: the server did not exit on SIGTERM, so unflushed data is lost and its file cannot be trusted. */
  | { readonly status: 'stopped'; readonly signal: 'SIGTERM' | 'SIGKILL' | 'none'; readonly position: string | null }
  /** Ended on its own. */
  | { readonly status: 'exited'; readonly exit_code: number | null; readonly stderr: string; readonly position: string | null }
  /** Never requested. */
  | { readonly status: 'none'; readonly position: null };
