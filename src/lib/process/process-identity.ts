import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { ProcessIdentity } from './process-supervisor.port.js';
import { errnoOf } from './system-error.js';

let knownBootId: string | null = null;

/** The id of this boot of the machine; it cannot change while we run. */
function bootId(): string {
  knownBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return knownBootId;
}

/** The process that has this pid now; null when there is none, or only a zombie. */
export async function identityOf(pid: number): Promise<ProcessIdentity | null> {
  try {
    return identityIn(pid, await readFile(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return null;
  }
}

export function identityOfUs(): ProcessIdentity {
  const identity = identityIn(process.pid, readFileSync('/proc/self/stat', 'utf8'));
  if (identity === null) throw new Error('/proc/self/stat is not understood');
  return identity;
}

/**
 * True while that exact process is alive; a zombie and another process with the same pid do not count. Synchronous, because reading /proc takes microseconds,
 * less than a trip through the thread pool.
 */
export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.boot_id !== bootId()) return false;
  try {
    return identityIn(identity.pid, readFileSync(`/proc/${identity.pid}/stat`, 'utf8'))?.start_ticks === identity.start_ticks;
  } catch {
    return false;
  }
}

/** Sends a signal to that exact process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: 'SIGTERM' | 'SIGKILL'): boolean {
  if (!isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

/** Parses `<pid> (<name>) <state> ...`. The name may contain spaces and parentheses, so fields are counted from the last parenthesis. */
function identityIn(pid: number, stat: string): ProcessIdentity | null {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const startTicks = fields[19];
  if (state === 'Z' || state === 'X' || startTicks === undefined) return null;
  return { pid, start_ticks: startTicks, boot_id: bootId() };
}
