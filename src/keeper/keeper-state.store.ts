import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../lib/files/durable-write.js';
import { errnoOf } from '../lib/process/system-error.js';
import { object, orNull, text, WrongShapeError } from '../lib/json-shape/json-shape.js';
import type { KnownLock, KnownLocks } from './locks.plan.js';
import type { TrustedClock } from './trusted-clock.plan.js';

const CLOCK = 'clock.json';
const LOCKS = 'locks.json';

/** By path of the repository. */
export type KnownRepositories = Readonly<Record<string, KnownLocks>>;

/** What the keeper must not forget, in a folder that belongs to it alone. Each file is replaced as a whole. */
export class KeeperState {
  constructor(private readonly directory: string) {}

  /** null: this is the first start. @throws Error when the file is there and not as it was written: then nothing may be unlocked */
  async clock(): Promise<TrustedClock | null> {
    return this.read(CLOCK, (value) => {
      const root = object(value, 'clock');
      const at = object(root['at'], 'at');
      return {
        trusted_ms: milliseconds(root['trusted_ms'], 'trusted_ms'),
        at: { wall_ms: milliseconds(at['wall_ms'], 'wall_ms'), boot_ms: milliseconds(at['boot_ms'], 'boot_ms'), boot_id: text(at['boot_id'], 'boot_id') },
      };
    });
  }

  async locks(): Promise<KnownRepositories> {
    const found = await this.read(LOCKS, (value) =>
      Object.fromEntries(
        Object.entries(object(value, 'locks')).map(([path, locks]) => [
          path,
          Object.fromEntries(Object.entries(object(locks, path)).map(([id, lock]) => [id, lockOf(lock, id)])),
        ]),
      ),
    );
    return found ?? {};
  }

  async saveClock(clock: TrustedClock): Promise<void> {
    await writeFileDurably(join(this.directory, CLOCK), `${JSON.stringify(clock)}\n`, 0o600);
  }

  async saveLocks(locks: KnownRepositories): Promise<void> {
    await writeFileDurably(join(this.directory, LOCKS), `${JSON.stringify(locks)}\n`, 0o600);
  }

  private async read<Value>(name: string, parse: (value: unknown) => Value): Promise<Value | null> {
    const path = join(this.directory, name);
    try {
      return parse(JSON.parse(await readFile(path, 'utf8')));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      if (!(error instanceof SyntaxError || error instanceof WrongShapeError)) throw error;
      const advice = 'Restore the file from a backup, or remove it: the locks then follow from the manifests again.';
      throw new Error(`"${path}" is damaged. All locks stay. ${advice}`, { cause: error });
    }
  }
}

function lockOf(value: unknown, id: string): KnownLock {
  const lock = object(value, id);
  return { first_seen_ms: milliseconds(lock['first_seen_ms'], 'first_seen_ms'), until_ms: orNull(milliseconds)(lock['until_ms'], 'until_ms') };
}

function milliseconds(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new WrongShapeError(`${where} is not a number`);
  return value;
}
