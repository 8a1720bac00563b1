import type { NbdExportStartFailed } from '../model/nbd-export.events.js';

/** How a qemu-nbd ended. */
export interface ServerEnd {
  /** null when nobody saw it; 128+n after signal n. */
  readonly exitCode: number | null;
  readonly stderr: string;
  /** Whether we had told it to end. */
  readonly stopRequested: boolean;
}

const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;
const KILLED = 128 + 9;

/** Why a server that ended before anybody could reach it did so. */
export function startFailureCode(end: ServerEnd): NbdExportStartFailed['data']['code'] {
  if (end.exitCode === NOT_FOUND || end.exitCode === NOT_EXECUTABLE) return 'tool_missing';
  return /address already in use/i.test(end.stderr) ? 'port_in_use' : 'exited_early';
}

/** The signal by which a server that we had told to end did so, as far as its exit code says. */
export function stopSignal(end: ServerEnd): 'SIGTERM' | 'SIGKILL' {
  return end.exitCode === KILLED ? 'SIGKILL' : 'SIGTERM';
}

/** Where a server that listens on `host` is reached from its own machine. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
