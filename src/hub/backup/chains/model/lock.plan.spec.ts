import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ChainEvent } from './chain.events.js';
import { type ChainState, evolveChain, initialChainState } from './chain.state.js';
import { decideRecordRestorePoint } from '../record-restore-point/record-restore-point.decide.js';
import { lockOf } from './lock.plan.js';
import { lockedFrom } from '../../../../storage/repository-files/lock-end.plan.js';

const BEGIN = Date.parse('2027-01-01T00:00:00.000Z');

/** A chain whose restore points were locked until these days after the first; null: not locked. */
function sealed(days: readonly (number | null)[]): readonly ChainState[] {
  const states: ChainState[] = [];
  let state = initialChainState;
  days.forEach((day, index) => {
    const events: readonly ChainEvent[] = decideRecordRestorePoint(
      {
        chain_id: 'c',
        vm_id: 'v',
        repository_id: 'r',
        backup_id: `b${index}`,
        parent_backup_id: index === 0 ? null : `b${index - 1}`,
        rewritten: false,
        locked_until: day === null ? null : lockedFrom(BEGIN, day),
      },
      state,
    );
    state = events.reduce(evolveChain, state);
    states.push(state);
  });
  return states;
}

const locksOf = (state: ChainState | undefined): Readonly<Record<string, string>> => (state?.status === 'open' ? state.locks : {});
const histories = fc.array(fc.option(fc.integer({ min: 1, max: 400 })), { minLength: 1, maxLength: 12 });

describe('the locks of a chain', () => {
  it('name only those below that they make longer', () => {
    const state = sealed([10, 20, 5]).at(-1) ?? initialChainState;
    const until = (days: number): string | null => lockedFrom(BEGIN, days);
    const next = { backup_id: 'b3', parent_backup_id: 'b2' };
    expect(lockOf(next, until(15), state)).toEqual({ backup_id: 'b3', locked_until: until(15), extended: ['b2'] });
    expect(lockOf(next, until(25), state)?.extended).toEqual(['b2', 'b1', 'b0']);
    expect(lockOf(next, null, state)).toBeNull();
  });

  it('are the latest of the own lock and the locks of all that depends on it', () => {
    fc.assert(
      fc.property(histories, (days) => {
        const locks = locksOf(sealed(days).at(-1));
        days.forEach((_, index) => {
          const above = days.slice(index).filter((day) => day !== null);
          expect(locks[`b${index}`] ?? null).toBe(above.length === 0 ? null : lockedFrom(BEGIN, Math.max(...above)));
        });
      }),
    );
  });

  it('never become shorter', () => {
    fc.assert(
      fc.property(histories, (days) => {
        const states = sealed(days);
        states.slice(1).forEach((state, index) => {
          for (const [id, until] of Object.entries(locksOf(states[index]))) expect((locksOf(state)[id] ?? '') >= until).toBe(true);
        });
      }),
    );
  });
});
