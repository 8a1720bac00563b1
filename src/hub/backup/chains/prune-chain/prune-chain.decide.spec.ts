import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { ChainEvent } from '../model/chain.events.js';
import { evolveChain, initialChainState } from '../model/chain.state.js';
import { decidePruneChain } from './prune-chain.decide.js';

const { given } = specificationOf({ initialState: initialChainState, evolve: evolveChain, decide: decidePruneChain });
const chain: readonly ChainEvent[] = [
  { type: 'ChainStarted', data: { chain_id: 'c', vm_id: 'v', repository_id: 'r', backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b2', parent_backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b3', parent_backup_id: 'b2' } },
];
const requested = (...remove: readonly string[]): ChainEvent => ({ type: 'PruningRequested', data: { remove, requested_at: 'now' } });
const command = (...remove: readonly string[]) => ({ remove, only_expired: false, requested_at: 'now' });
const ofExpired = (...remove: readonly string[]) => ({ ...command(...remove), only_expired: true });
const requestedIfExpired = (...remove: readonly string[]): ChainEvent => ({
  type: 'PruningRequested',
  data: { remove, only_expired: true, requested_at: 'now' },
});

describe('pruning a chain', () => {
  it('is requested for any restore point of it, in the order of the chain', () => {
    given(...chain)
      .when(command('b2', 'b1'))
      .then(requested('b1', 'b2'));
  });
  it('is requested once for each', () => {
    given(...chain, requested('b2'))
      .when(command('b2'))
      .then();
    given(...chain, requested('b2'))
      .when(command('b2', 'b1'))
      .then(requested('b1'));
  });
  it('of expired restore points is requested once, and a request without that condition takes it away', () => {
    given(...chain, requested('b2'))
      .when(ofExpired('b1', 'b2'))
      .then(requestedIfExpired('b1'));
    given(...chain, requestedIfExpired('b1', 'b2'))
      .when(ofExpired('b2'))
      .then();
    given(...chain, requestedIfExpired('b1', 'b2'))
      .when(command('b2'))
      .then(requested('b2'));
    given(...chain, requestedIfExpired('b1', 'b2'), requested('b2'))
      .when(command('b2'))
      .then();
  });
  it('is requested again after it failed', () => {
    given(...chain, requested('b2'), { type: 'PruningFailed', data: { code: 'c', detail: 'd', failed_at: 'then' } })
      .when(command('b2'))
      .then(requested('b2'));
  });
  it('is not needed for a restore point that has gone', () => {
    given(...chain, requested('b3'), { type: 'RestorePointRemoved', data: { backup_id: 'b3' } })
      .when(command('b3'))
      .then();
    given().when(command('b1')).then();
  });
});
