import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { ChainEvent, RewrittenPoint } from './chain.events.js';
import { evolveChain, initialChainState } from './chain.state.js';
import { decidePruningProgress } from './pruning-progress.decide.js';

const { given } = specificationOf({ initialState: initialChainState, evolve: evolveChain, decide: decidePruningProgress });
const chain: readonly ChainEvent[] = [
  { type: 'ChainStarted', data: { chain_id: 'c', vm_id: 'v', repository_id: 'r', backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b2', parent_backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b3', parent_backup_id: 'b2' } },
  { type: 'PruningRequested', data: { remove: ['b2'], requested_at: 'then' } },
];
const point: RewrittenPoint = { backup_id: 'b3', operation: 'absorb', parent_backup_id: 'b1', merged: ['b2'], comparison: 'equal', files: [] };
const started: ChainEvent = { type: 'RestorePointRewriteStarted', data: { ...point, started_at: 'now' } };
const rewritten: ChainEvent = { type: 'RestorePointRewritten', data: { ...point, manifest_sha256: 'm', rewritten_at: 'now' } };
const failed = { kind: 'failed', code: 'c', detail: 'd', at: 'now' } as const;

describe('the progress of a pruning', () => {
  it('is the intent to replace files, then that they were replaced, once', () => {
    const done = { kind: 'rewritten', point, manifest_sha256: 'm', at: 'now' } as const;
    given(...chain)
      .when({ kind: 'rewrite_started', point, at: 'now' })
      .then(started);
    given(...chain, started)
      .when(done)
      .then(rewritten);
    given(...chain, started, rewritten)
      .when(done)
      .then();
  });
  it('never is a failure while files may be replaced', () => {
    given(...chain)
      .when(failed)
      .then({ type: 'PruningFailed', data: { code: 'c', detail: 'd', failed_at: 'now' } });
    given(...chain, started)
      .when(failed)
      .then();
  });
  it('is not recorded for a restore point that is not in the chain', () => {
    expect(() =>
      given(...chain)
        .when({ kind: 'rewrite_started', point: { ...point, backup_id: 'b9' }, at: 'now' })
        .then(),
    ).toThrow('is not in its chain');
  });
});
