import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../kernel/domain-error.js';
import type { Position } from '../../../kernel/position.js';

interface Waiter {
  readonly position: Position;
  /** Null: every read model that is not halted. */
  readonly name: string | null;
  readonly settle: (error: DomainError | null) => void;
}

/** Where the read models stand, and a way to wait for one's own write. */
@Injectable()
export class ReadModels {
  private readonly standing = new Map<string, Position | null>();
  private readonly halted = new Set<string>();
  private readonly waiters = new Set<Waiter>();

  /** Position of each read model's rows; null: nothing folded yet. */
  positions(): ReadonlyMap<string, Position | null> {
    return this.standing;
  }

  /**
   * Resolves once every read model (or the one named) stands at `position` or after it. Halted ones are not waited for, unless one is named.
   * @throws DomainError `read_model_behind` after `timeoutMs`, `projection_halted` where the one named is halted, `projection_not_found`
   */
  async waitFor(position: Position, timeoutMs: number, name: string | null = null): Promise<void> {
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
          new DomainError('unavailable', 'read_model_behind', `the read models have not reached position ${position} within ${timeoutMs} ms; ask again`, {
            position,
            timeout_ms: timeoutMs,
          }),
        );
      }, timeoutMs);
      this.waiters.add(waiter);
      this.check(waiter);
    });
  }

  /** Told by the runners: a read model exists, and its rows stand here now. */
  advanced(name: string, position: Position | null): void {
    this.halted.delete(name);
    this.standing.set(name, position);
    this.checkAll();
  }

  /** Told by the runners: this read model stays where it is. */
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
        if (!this.halted.has(each) && (at === null || at < waiter.position)) return;
      }
      waiter.settle(null);
      return;
    }
    const at = this.standing.get(name) ?? null;
    if (at !== null && at >= waiter.position) waiter.settle(null);
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
