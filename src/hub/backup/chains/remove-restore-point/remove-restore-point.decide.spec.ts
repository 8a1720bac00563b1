import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { ChainEvent } from '../model/chain.events.js';
import { evolveChain, initialChainState } from '../model/chain.state.js';
import { decideRemoveRestorePoint } from './remove-restore-point.decide.js';

const { given } = specificationOf({ initialState: initialChainState, evolve: evolveChain, decide: decideRemoveRestorePoint });
const chain: readonly ChainEvent[] = [
  { type: 'ChainStarted', data: { chain_id: 'c', vm_id: 'v', repository_id: 'r', backup_id: 'full' } },
  { type: 'ChainExtended', data: { backup_id: 'incr', parent_backup_id: 'full' } },
];

describe('removing a restore point from its chain', () => {
  it('is possible only if no other depends on it', () => {
    given(...chain)
      .when({ backup_id: 'incr' })
      .then({ type: 'RestorePointRemoved', data: { backup_id: 'incr' } });
    given(...chain)
      .when({ backup_id: 'full' })
      .thenRefused('restore_point_in_use');
  });
  it('is possible in the middle once the later one was based on another', () => {
    const later: ChainEvent = { type: 'ChainExtended', data: { backup_id: 'later', parent_backup_id: 'incr' } };
    const rewritten: ChainEvent = {
      type: 'RestorePointRewritten',
      data: {
        ...{ backup_id: 'later', operation: 'absorb', parent_backup_id: 'full', merged: ['incr'], comparison: 'equal', files: [] },
        manifest_sha256: 'm',
        rewritten_at: 'now',
      },
    };
    given(...chain, later)
      .when({ backup_id: 'incr' })
      .thenRefused('restore_point_in_use', { backup_id: 'incr', used_by: ['later'] });
    given(...chain, later, rewritten)
      .when({ backup_id: 'incr' })
      .then({ type: 'RestorePointRemoved', data: { backup_id: 'incr' } });
    given(...chain, later, rewritten)
      .when({ backup_id: 'full' })
      .thenRefused('restore_point_in_use', { backup_id: 'full', used_by: ['incr', 'later'] });
  });
  it('changes nothing when it has already been removed', () => {
    given(...chain, { type: 'RestorePointRemoved', data: { backup_id: 'incr' } })
      .when({ backup_id: 'incr' })
      .then();
    given().when({ backup_id: 'incr' }).then();
  });
});
