import type { NbdExportStartFailed } from '../model/nbd-export.events.js';

/** How a qemu-nbd ended. */
export interface ServerEnd {
  /** null if unknown; 128+n after signal n. */
  readonly exitCode: number | null;
  readonly stderr: string;
  /** Whether the hub had asked it to stop. */
  readonly stopRequested: boolean;
}

const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;
/** SIGTERM arrived before the process had installed its handler. */
const TERMINATED = 128 + 15;

/** Classifies the end of a server that never completed a handshake. */
export function startFailureCode(end: ServerEnd): NbdExportStartFailed['data']['code'] {
  if (end.exitCode === NOT_FOUND || end.exitCode === NOT_EXECUTABLE) return 'tool_missing';
  return /address already in use/i.test(end.stderr) ? 'port_in_use' : 'exited_early';
}

/** Whether a requested stop was clean: qemu-nbd flushes its caches and exits with 0. An unknown exit code counts as clean. */
export function endedAsTold(end: ServerEnd): boolean {
  return end.stopRequested && (end.exitCode === null || end.exitCode === 0 || end.exitCode === TERMINATED);
}

/** Address for reaching a server that listens on `host` from the same machine. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
