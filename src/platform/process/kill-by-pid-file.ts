import { readFile } from 'node:fs/promises';
import { errnoOf } from './system-error.js';

/**
 * Kills the process that has written this file, if it still runs: one that was told to name the file in its command line, so that another one which has got the pid since is
 * told from it. Harmless when there is no such file or process.
 */
export async function killByPidFile(pidFile: string): Promise<void> {
  const pid = Number(await readOrEmpty(pidFile));
  if (!Number.isInteger(pid) || pid <= 1) return;
  if (!(await readOrEmpty(`/proc/${pid}/cmdline`)).split('\0').includes(pidFile)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** A process may end between two looks at it. */
async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return '';
    throw error;
  }
}
