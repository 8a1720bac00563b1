import { DomainError } from '../../../../kernel/domain-error.js';
import { WorkerClosedError } from '../../../../storage/storage-worker/storage-worker.js';
import { EventStoreUnavailableError } from '../../../store/event-store/event-store.port.js';
import { isDatabaseAway } from '../../../store/postgres/connection-errors.js';
import type { BackupState } from '../model/backup.state.js';
import type { RunStep } from './run-backup.plan.js';

export type StepOutcome =
  /** Something was recorded; plan again at once. */
  | 'progressed'
  /** Nothing to do until the next poke. */
  | 'waiting'
  /** Try again after a growing pause. */
  | 'retry';

/** The dependencies of an actor. */
export interface ActorHost {
  load(backupId: string): Promise<BackupState>;
  plan(state: BackupState): Promise<readonly RunStep[]>;
  execute(backupId: string, step: RunStep, state: BackupState): Promise<StepOutcome>;
  /** Records that the run failed with this error. */
  fail(backupId: string, state: BackupState, error: unknown): Promise<void>;
  /** Called whenever the state was loaded and planned. */
  observed(backupId: string, state: BackupState, finished: boolean): void;
  warn(backupId: string, message: string, error: unknown): void;
}

const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 30_000;

/**
 * Drives one backup: loads its state, performs the next steps, and repeats. Only one round runs at a time; a poke during a round causes another one. The
 * actor holds no knowledge that a restart would lose.
 */
export class BackupActor {
  private running: Promise<void> | null = null;
  private pokedAgain = false;
  private retryTimer: NodeJS.Timeout | null = null;
  private retryDelayMs = RETRY_FIRST_MS;
  private stopped = false;

  constructor(
    readonly backupId: string,
    private readonly host: ActorHost,
  ) {}

  poke(): void {
    if (this.stopped) return;
    if (this.running !== null) {
      this.pokedAgain = true;
      return;
    }
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.running = this.drive().finally(() => {
      this.running = null;
      if (this.pokedAgain) {
        this.pokedAgain = false;
        this.poke();
      }
    });
  }

  /** Resolves when the current round has finished. No further round starts. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    await this.running;
  }

  /** Pokes arrive while steps are awaited, which the compiler's narrowing does not see. */
  private wasPoked(): boolean {
    return this.pokedAgain;
  }

  private async drive(): Promise<void> {
    let lookAgain = true;
    while (lookAgain && !this.stopped) {
      this.pokedAgain = false;
      lookAgain = false;
      let outcomes: StepOutcome[];
      try {
        const state = await this.host.load(this.backupId);
        const steps = await this.host.plan(state);
        this.host.observed(
          this.backupId,
          state,
          steps.every((step) => step.step === 'finished'),
        );
        outcomes = await Promise.all(steps.map((step) => this.perform(step, state)));
      } catch (error) {
        this.host.warn(this.backupId, 'could not load or plan a backup; trying again', error);
        outcomes = ['retry'];
      }
      if (outcomes.includes('progressed')) {
        this.retryDelayMs = RETRY_FIRST_MS;
        lookAgain = true;
      } else if (this.wasPoked()) {
        lookAgain = true;
      }
      if (outcomes.includes('retry') && !lookAgain) this.retryLater();
    }
  }

  private async perform(step: RunStep, state: BackupState): Promise<StepOutcome> {
    try {
      return await this.host.execute(this.backupId, step, state);
    } catch (error) {
      // Undoing and settling can only be retried. A run that may still succeed fails with the cause.
      const givesUp = (state.status === 'pending' || state.status === 'running') && !isStorageAway(error);
      if (!givesUp) {
        this.host.warn(this.backupId, `step ${step.step} failed; trying again`, error);
        return 'retry';
      }
      await this.host.fail(this.backupId, state, error);
      return 'progressed';
    }
  }

  private retryLater(): void {
    this.retryTimer = setTimeout(() => this.poke(), this.retryDelayMs);
    this.retryDelayMs = Math.min(this.retryDelayMs * 2, RETRY_MAX_MS);
  }
}

/**
 * The event store or the database is unavailable, the read models are behind, or the hub is shutting down. Nothing can be recorded or looked up, so nothing
 * is decided.
 */
function isStorageAway(error: unknown): boolean {
  if (error instanceof DomainError) return error.code === 'read_model_behind';
  return error instanceof EventStoreUnavailableError || error instanceof WorkerClosedError || isDatabaseAway(error);
}
