import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { ChainEvent } from '../model/chain.events.js';
import { evolveChain, initialChainState } from '../model/chain.state.js';
import { decideMarkHealed } from './mark-healed.decide.js';

const { given } = specificationOf({ initialState: initialChainState, evolve: evolveChain, decide: decideMarkHealed });
const chain: readonly ChainEvent[] = [
  { type: 'ChainStarted', data: { chain_id: 'c1', vm_id: 'v1', repository_id: 'r1', backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b2', parent_backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b3', parent_backup_id: 'b2' } },
];
const damaged = (backup_id: string, detail: string, caused_by_backup_id: string | null = null): ChainEvent => ({
  type: 'RestorePointDamaged',
  data: { backup_id, code: 'parent_altered', detail, caused_by_backup_id },
});
const files = [{ file: 'f/disk-0.qcow2', from_repository_ids: ['r2'], healed_bytes: 4, ranges: [{ offset_bytes: 0, length_bytes: 4 }] }];
const command = { backup_id: 'b1', repository_id: 'r1', files, verification_id: 'ver1', healed_at: 'now' };
const healed = (backup_id: string, caused_by_backup_id: string | null = null): ChainEvent => ({
  type: 'RestorePointHealed',
  data: { ...command, backup_id, files: caused_by_backup_id === null ? files : [], caused_by_backup_id },
});

describe('marking a restore point as healed', () => {
  it('frees those that were damaged because of it', () =>
    given(...chain, damaged('b1', 'bit'), damaged('b2', 'It depends on b1', 'b1'), damaged('b3', 'It depends on b1', 'b1'))
      .when(command)
      .then(healed('b1'), healed('b2', 'b1'), healed('b3', 'b1')));
  it('leaves those damaged that depend on another damaged one', () =>
    given(...chain, damaged('b1', 'bit'), damaged('b2', 'own'), damaged('b3', 'It depends on b1', 'b1'))
      .when(command)
      .then(healed('b1'), healed('b3', 'b1'), damaged('b3', 'It depends on restore point b2, which is damaged: own', 'b2')));
  it('does nothing for one that is not damaged, or only because of another one', () => {
    given(...chain)
      .when(command)
      .then();
    given(...chain, damaged('b1', 'bit', 'b0'))
      .when(command)
      .then();
    given().when(command).then();
  });
  it('does nothing the second time', () =>
    given(...chain, damaged('b1', 'bit'), healed('b1'))
      .when(command)
      .then());
});
