import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../kernel/domain-error.js';
import type { Position } from '../../../kernel/position.js';

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
  private readonly waiters = new Set<Waiter>();

  /** Position of each read model's rows; null: nothing folded yet. */
  positions(): ReadonlyMap<string, Position | null> {
    return this.standing;
  }

  /**
   * Resolves once every read model, or the named one, has reached `position`. Does not wait for halted ones, unless one is named.
   * @throws DomainError `read_model_behind` after `timeoutMs`, `projection_halted` if the named one is halted, `projection_not_found`
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
          new DomainError('unavailable', 'read_model_behind', `the read models did not reach position ${position} within ${timeoutMs} ms; try again`, {
            position,
            timeout_ms: timeoutMs,
          }),
        );
      }, timeoutMs);
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
