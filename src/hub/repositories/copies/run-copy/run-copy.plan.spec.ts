import { describe, expect, it } from '@jest/globals';
import { copyHistories } from '../../../../../test/support/copy-histories.js';
import type { CopyEvent } from '../model/copy.events.js';
import { type CopyState, evolveCopy, initialCopyState } from '../model/copy.state.js';
import { formOfCopy, isCopyGivenUp, nextCopyWork } from './run-copy.plan.js';

const stateAfter = (...events: readonly CopyEvent[]): CopyState => events.reduce(evolveCopy, initialCopyState);
const undone: CopyEvent = { type: 'CopyUndone', data: { undone_at: 'now' } };

describe('what a copy needs next', () => {
  it.each([
    ['requested', 'plan'],
    ['planned', 'transfer'],
    ['interrupted', 'transfer'],
    ['verified', 'seal'],
    ['completed', 'nothing'],
    ['failed', 'remove_partial'],
    ['cancelled', 'remove_partial'],
    ['deleted', 'remove_files'],
  ] as const)('when it is %s: %s', (phase, work) => {
    expect(nextCopyWork(stateAfter(...copyHistories[phase]))).toBe(work);
  });

  it('is nothing once all that it wrote was removed', () => {
    expect(nextCopyWork(stateAfter(...copyHistories.failed, undone))).toBe('nothing');
    expect(nextCopyWork(initialCopyState)).toBe('nothing');
  });
});

describe('the form of a copy', () => {
  it('is identical for a full and on the copy of its parent, and flattened without', () => {
    expect([null, 'complete', 'absent', 'under_way'].map((parent) => formOfCopy(parent as Parameters<typeof formOfCopy>[0]))).toEqual([
      'identical',
      'identical',
      'flattened',
      'wait',
    ]);
  });
});

describe('a copy that cannot continue', () => {
  const trouble = { passing: true, since_ms: null, now_ms: 10_000, patience_ms: 5_000 };

  it('is tried again until the same cause has lasted for the patience', () => {
    expect(isCopyGivenUp(trouble)).toBe(false);
    expect(isCopyGivenUp({ ...trouble, since_ms: 5_001 })).toBe(false);
    expect(isCopyGivenUp({ ...trouble, since_ms: 5_000 })).toBe(true);
  });

  it('fails at once by a cause that cannot pass', () => {
    expect(isCopyGivenUp({ ...trouble, passing: false })).toBe(true);
  });
});
