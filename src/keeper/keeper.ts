import { messageOf } from '../kernel/error-message.js';
import type { Logger } from '../lib/logging/logger.js';
import type { KeeperConfig } from './keeper.config.js';
import type { KeeperState, KnownRepositories } from './keeper-state.store.js';
import { knownLocks, type LockAction, lockActions } from './locks.plan.js';
import { RepositoryLocks } from './repository-locks.js';
import { advanceClock, type ClockReading, type ClockVerdict } from './trusted-clock.plan.js';

const ALARMS = {
  clock_set_back: 'the clock is before what it was; no lock ends until it is right',
  clock_ahead:
    'the clock is more than a day ahead of the time that has passed; locks end later than it says. If it is right, stop the keeper and run it with --confirm-clock',
} as const;

/** Makes the files of locked restore points immutable, and ends that when its own clock says so. Nothing that the hub says makes a lock shorter. */
export class Keeper {
  private readonly repositories: ReadonlyMap<string, RepositoryLocks>;
  /** The last problem of each place, so that one that stays is logged once. */
  private readonly problems = new Map<string, string>();

  constructor(
    private readonly config: Pick<KeeperConfig, 'repositories' | 'lockDays' | 'longestLockDays'>,
    private readonly state: KeeperState,
    private readonly reading: () => ClockReading,
    private readonly log: Logger,
  ) {
    this.repositories = new Map(config.repositories.map((path) => [path, new RepositoryLocks(path)]));
  }

  /** Looks at all repositories once. What is to be locked is saved before it is locked. @throws Error when the state cannot be read or saved */
  async round(): Promise<void> {
    const verdict = advanceClock(await this.state.clock(), this.reading());
    await this.state.saveClock(verdict.clock);
    this.report('clock', verdict.alarm === null ? null : ALARMS[verdict.alarm], { trusted: new Date(verdict.clock.trusted_ms).toISOString() });
    for (const [path, locks] of this.repositories) {
      try {
        const failed = await this.look(path, locks, verdict);
        this.report(path, failed, { repository: path });
      } catch (error) {
        this.report(path, messageOf(error), { repository: path });
      }
    }
  }

  /** @returns the first of its problems; null: none */
  private async look(path: string, repository: RepositoryLocks, { clock, may_unlock }: ClockVerdict): Promise<string | null> {
    const { lockDays: lock_days, longestLockDays: longest_lock_days } = this.config;
    const now = clock.trusted_ms;
    const { points, problems } = await repository.scan(now);
    const known = await this.state.locks();
    const locks = knownLocks(points, known[path] ?? {}, now, { lock_days, longest_lock_days });
    await this.save({ ...known, [path]: locks }, known);
    const failed = new Map(problems);
    for (const action of lockActions(points, locks, now, may_unlock)) {
      try {
        if (await repository.perform(action)) this.tell(path, action);
      } catch (error) {
        failed.set(action.folder, messageOf(error));
      }
    }
    const [first] = failed;
    return first === undefined ? null : `${failed.size} restore points could not be kept; ${first[0]}: ${first[1]}`;
  }

  private async save(locks: KnownRepositories, before: KnownRepositories): Promise<void> {
    if (JSON.stringify(locks) !== JSON.stringify(before)) await this.state.saveLocks(locks);
  }

  private tell(repository: string, { kind, folder, until_ms }: LockAction): void {
    const until = until_ms === null ? null : new Date(until_ms).toISOString();
    this.log.info(kind === 'lock' ? 'locked a restore point' : 'unlocked a restore point, because its lock has ended', { repository, folder, until });
  }

  private report(place: string, problem: string | null, facts: Readonly<Record<string, string>>): void {
    if ((this.problems.get(place) ?? null) === problem) return;
    if (problem === null) {
      this.problems.delete(place);
      this.log.info('a problem has ended', facts);
    } else {
      this.problems.set(place, problem);
      this.log.warn(problem, facts);
    }
  }
}
