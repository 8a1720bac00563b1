import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identityOf, isAlive } from './process-identity.js';
import type { ProcessIdentity } from './process-supervisor.port.js';
import { errnoOf } from './system-error.js';

/** Another program of the same kind uses the data directory. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError';
  constructor(
    readonly program: string,
    readonly dataDirectory: string,
    readonly pid: number,
  ) {
    super(`a ${program} is already running in ${dataDirectory} (pid ${pid}); stop it first, or use another data directory for this one`);
  }
}

/**
 * At most one program of a kind uses a data directory. `<program>.lock` identifies its process by pid, start time and boot, so that a dead process is
 * distinguished from a live one. `<program>.pid` holds the bare pid for people and service managers.
 */
export class ProgramLock {
  private constructor(
    private readonly lockFile: string,
    private readonly pidFile: string,
    private readonly identity: ProcessIdentity,
  ) {}

  /** @throws AlreadyRunningError */
  static async acquire(dataDirectory: string, program: string): Promise<ProgramLock> {
    const identity = await identityOf(process.pid);
    if (identity === null) throw new Error(`/proc/${process.pid}/stat cannot be read; this program needs Linux with /proc mounted`);
    mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
    const lock = new ProgramLock(join(dataDirectory, `${program}.lock`), join(dataDirectory, `${program}.pid`), identity);
    while (!lock.take()) {
      const holder = readHolder(lock.lockFile);
      if (holder !== null && isAlive(holder)) throw new AlreadyRunningError(program, dataDirectory, holder.pid);
      lock.clearStale(holder);
    }
    writeFileSync(lock.pidFile, `${process.pid}\n`, { mode: 0o644 });
    return lock;
  }

  /** Does nothing if another program has taken the lock. */
  release(): void {
    if (readHolder(this.lockFile)?.start_ticks !== this.identity.start_ticks) return;
    rmSync(this.pidFile, { force: true });
    rmSync(this.lockFile, { force: true });
  }

  /** Creating a link is atomic, so a lock is never read half-written. */
  private take(): boolean {
    const fresh = `${this.lockFile}.${process.pid}`;
    writeFileSync(fresh, `${JSON.stringify(this.identity)}\n`, { mode: 0o600 });
    try {
      linkSync(fresh, this.lockFile);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return false;
      throw error;
    } finally {
      rmSync(fresh, { force: true });
    }
  }

  /** Moves a dead process's lock away. If another program was faster, the moved lock may belong to a live process and is put back. */
  private clearStale(seen: ProcessIdentity | null): void {
    const aside = `${this.lockFile}.stale.${process.pid}`;
    try {
      renameSync(this.lockFile, aside);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    const moved = readHolder(aside);
    if (moved !== null && moved.pid !== seen?.pid && isAlive(moved)) renameSync(aside, this.lockFile);
    else rmSync(aside, { force: true });
  }
}

/** The live process that holds the lock of that program in that data directory; null: none. */
export function runningProgram(dataDirectory: string, program: string): ProcessIdentity | null {
  const holder = readHolder(join(dataDirectory, `${program}.lock`));
  return holder !== null && isAlive(holder) ? holder : null;
}

function readHolder(file: string): ProcessIdentity | null {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // Gone, or damaged by a full disk: it identifies nobody.
    return null;
  }
  if (typeof content !== 'object' || content === null || !('pid' in content) || !('start_ticks' in content) || !('boot_id' in content)) return null;
  const { pid, start_ticks, boot_id } = content;
  return typeof pid === 'number' && typeof start_ticks === 'string' && typeof boot_id === 'string' ? { pid, start_ticks, boot_id } : null;
}
