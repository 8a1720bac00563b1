import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { ChainEvent } from '../model/chain.events.js';
import { evolveChain, initialChainState } from '../model/chain.state.js';
import { decideRecordRestorePoint } from './record-restore-point.decide.js';

const { given } = specificationOf({ initialState: initialChainState, evolve: evolveChain, decide: decideRecordRestorePoint });
const point = (backup_id: string, parent_backup_id: string | null, rewritten = false) => ({
  ...{ chain_id: 'c', vm_id: 'v', repository_id: 'r' },
  backup_id,
  parent_backup_id,
  rewritten,
  locked_until: null,
});
const started: ChainEvent = { type: 'ChainStarted', data: { chain_id: 'c', vm_id: 'v', repository_id: 'r', backup_id: 'full' } };

describe('a new restore point in a chain', () => {
  it('starts the chain when it is a full', () => {
    given().when(point('full', null)).then(started);
  });
  it('extends the chain when it is based on the newest one', () => {
    given(started)
      .when(point('incr', 'full'))
      .then({ type: 'ChainExtended', data: { backup_id: 'incr', parent_backup_id: 'full' } });
  });
  it('is recorded once', () => {
    given(started).when(point('full', null)).then();
  });
  it('is rejected when its parent is not the head, or does not exist', () => {
    const extended: ChainEvent = { type: 'ChainExtended', data: { backup_id: 'incr', parent_backup_id: 'full' } };
    expect(() => given(started, extended).when(point('other', 'full')).then()).toThrow('is not based on the head');
    expect(() => given().when(point('incr', 'full')).then()).toThrow('no full');
  });
  it('is locked with all that it depends on, and locks only become longer', () => {
    const lock = (backup_id: string, locked_until: string, ...extended: string[]): ChainEvent => ({
      type: 'RestorePointLocked',
      data: { backup_id, locked_until, extended },
    });
    const extended: ChainEvent = { type: 'ChainExtended', data: { backup_id: 'incr', parent_backup_id: 'full' } };
    const [early, late] = ['2027-01-01T00:00:00.000Z', '2027-01-02T00:00:00.000Z'];
    given()
      .when({ ...point('full', null), locked_until: early })
      .then(started, lock('full', early));
    given(started, lock('full', early))
      .when({ ...point('incr', 'full'), locked_until: late })
      .then(extended, lock('incr', late, 'full'));
    given(started, lock('full', late))
      .when({ ...point('incr', 'full'), locked_until: early })
      .then(extended, lock('incr', early));
    given(started, lock('full', early)).when(point('incr', 'full')).then(extended);
    given(started, lock('full', early))
      .when({ ...point('full', null), locked_until: late })
      .then();
  });
  it('is found among those that it no longer depends on, after an interrupted pruning', () => {
    const extended: ChainEvent = { type: 'ChainExtended', data: { backup_id: 'incr', parent_backup_id: 'full' } };
    given(started, extended)
      .when(point('absorbed', 'full', true))
      .then({ type: 'ChainExtended', data: { backup_id: 'absorbed', parent_backup_id: 'full' } });
    given(started, extended)
      .when(point('flattened', null, true))
      .then({ type: 'ChainStarted', data: { chain_id: 'c', vm_id: 'v', repository_id: 'r', backup_id: 'flattened' } });
  });
});
