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
/** SIGTERM came before it had set itself up to handle it. */
const TERMINATED = 128 + 15;

/** Why a server that ended before anybody could reach it did so. */
export function startFailureCode(end: ServerEnd): NbdExportStartFailed['data']['code'] {
  if (end.exitCode === NOT_FOUND || end.exitCode === NOT_EXECUTABLE) return 'tool_missing';
  return /address already in use/i.test(end.stderr) ? 'port_in_use' : 'exited_early';
}

/** Whether it ended because we told it to, and by its own good will: qemu-nbd then writes out its caches and ends with 0. Where nobody saw the code, we believe so. */
export function endedAsTold(end: ServerEnd): boolean {
  return end.stopRequested && (end.exitCode === null || end.exitCode === 0 || end.exitCode === TERMINATED);
}

/** Where a server that listens on `host` is reached from its own machine. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
