import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { decideRpo } from './rpo.decide.js';
import type { RpoBroken, RpoRestored } from './rpo.events.js';
import { evolveRpo, initialRpoState } from './rpo.state.js';

const { given } = specificationOf({ initialState: initialRpoState, evolve: evolveRpo, decide: decideRpo });
const breach: RpoBroken['data'] = {
  vm_id: 'v1',
  vm_name: 'web-1',
  policy_id: 'p1',
  policy_version: 1,
  rpo_seconds: 3600,
  backup_id: 'b1',
  instant: '2027-01-05T11:00:00.000Z',
  broken_at: '2027-01-05T12:00:00.000Z',
  recorded_at: '2027-01-05T12:00:00.010Z',
};
const end = {
  vm_id: 'v1',
  reason: 'restore_point' as const,
  backup_id: 'b2',
  instant: '2027-01-05T12:20:00.000Z',
  restored_at: '2027-01-05T12:30:00.000Z',
  recorded_at: '2027-01-05T12:30:00.500Z',
};
const broken: RpoBroken = { type: 'RpoBroken', data: breach };
const restored: RpoRestored = { type: 'RpoRestored', data: { ...end, broken_at: breach.broken_at } };

describe('a breach of an RPO', () => {
  it('begins once', () => {
    given().when({ kind: 'break', breach }).then(broken);
    given(broken).when({ kind: 'break', breach }).then();
  });

  it('ends once, and only if it began', () => {
    given(broken).when({ kind: 'restore', end }).then(restored);
    given(broken, restored).when({ kind: 'restore', end }).then();
    given().when({ kind: 'restore', end }).then();
  });

  it('does not begin before the end of the one before, though the newest restore point is damaged later', () => {
    const again = { ...breach, recorded_at: '2027-01-05T13:00:00.000Z' };
    given(broken, restored)
      .when({ kind: 'break', breach: again })
      .then({ type: 'RpoBroken', data: { ...again, broken_at: end.restored_at } });
  });
});
