import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../kernel/domain-error.js';
import { areComparable, hasReached, type Position } from '../../../kernel/position.js';
import { EventStore } from '../event-store/event-store.port.js';

/** How long to wait for a read model, in milliseconds. Shorter than the ten seconds that an answer may take. */
const PATIENCE_MS = 8_000;

interface Waiter {
  readonly position: Position;
  /** Null: all read models that are not halted. */
  readonly name: string | null;
  readonly settle: (error: DomainError | null) => void;
}

/** Positions of the read models, and a way to wait for one's own write. */
@Injectable()
export class ReadModels {
  private readonly standing = new Map<string, Position | null>();
  private readonly halted = new Set<string>();
  private readonly withoutPast = new Set<string>();
  private readonly waiters = new Set<Waiter>();

  constructor(private readonly store: EventStore) {}

  /** Position of each read model's rows; null: nothing folded yet. */
  positions(): ReadonlyMap<string, Position | null> {
    return this.standing;
  }

  /** Whether a position is of another kind of event store than all that the read models are filled from. */
  isForeign(position: Position): boolean {
    const known = [...this.standing.values()].filter((at) => at !== null);
    return known.length > 0 && !known.some((at) => areComparable(at, position));
  }

  /** Resolves once the named read models include the newest event of the store, regardless of its author. Errors as in `waitFor`. */
  async current(...names: readonly string[]): Promise<void> {
    await this.waitFor(await this.store.head(), ...names);
  }

  /**
   * Resolves once the named read models have reached `position`; none named: all that are not halted. Null is reached at once.
   * @throws DomainError `read_model_behind` after 8 s, `projection_halted` if a named one is halted, `projection_not_found`
   */
  async waitFor(position: Position | null, ...names: readonly string[]): Promise<void> {
    if (position === null) return;
    await Promise.all((names.length === 0 ? [null] : names).map((name) => this.reach(position, name)));
  }

  /**
   * Resolves once all read models can be read as of `position`.
   * @throws DomainError as `waitFor`; `projection_halted` if any is halted before it; `history_incomplete`
   */
  async waitForPast(position: Position): Promise<void> {
    const [missing] = this.withoutPast;
    if (missing !== undefined) {
      throw new DomainError(
        'unavailable',
        'history_incomplete',
        `The past of the read model ${missing} is being built after an upgrade. Try again when GET /projections shows no rebuild.`,
        { name: missing },
      );
    }
    await this.waitFor(position, ...this.standing.keys());
  }

  private async reach(position: Position, name: string | null): Promise<void> {
    if (name !== null && !this.standing.has(name)) throw new DomainError('not_found', 'projection_not_found', `there is no read model ${name}`, { name });
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        position,
        name,
        settle: (error) => {
          clearTimeout(timer);
          this.waiters.delete(waiter);
          if (error === null) resolve();
          else reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiter.settle(
          new DomainError('unavailable', 'read_model_behind', `the read models did not reach position ${position} within ${PATIENCE_MS} ms; try again`, {
            position,
            timeout_ms: PATIENCE_MS,
          }),
        );
      }, PATIENCE_MS);
      this.waiters.add(waiter);
      this.check(waiter);
    });
  }

  /** Called by the runners: a read model exists and its rows are at this position. */
  advanced(name: string, position: Position | null): void {
    this.halted.delete(name);
    this.standing.set(name, position);
    this.checkAll();
  }

  /** Called when projections start and when a rebuild has replaced the rows: whether the versions of all rows are known. */
  knowsPast(name: string, isKnown: boolean): void {
    if (isKnown) this.withoutPast.delete(name);
    else this.withoutPast.add(name);
  }

  /** Called by the runners: this read model has halted. */
  stoodStill(name: string): void {
    this.halted.add(name);
    this.checkAll();
  }

  private checkAll(): void {
    for (const waiter of [...this.waiters]) this.check(waiter);
  }

  private check(waiter: Waiter): void {
    const { name } = waiter;
    if (name === null) {
      for (const [each, at] of this.standing) {
        if (!this.halted.has(each) && !hasReached(at, waiter.position)) return;
      }
      waiter.settle(null);
      return;
    }
    const at = this.standing.get(name) ?? null;
    if (hasReached(at, waiter.position)) waiter.settle(null);
    else if (this.halted.has(name)) {
      waiter.settle(
        new DomainError('unavailable', 'projection_halted', `the read model ${name} is halted before position ${waiter.position}; see GET /projections`, {
          name,
          position: waiter.position,
        }),
      );
    }
  }
}
