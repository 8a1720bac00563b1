import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { damageCodeOf } from '../model/chain.commands.js';
import type { ChainEvent } from '../model/chain.events.js';
import { evolveChain, initialChainState } from '../model/chain.state.js';
import { decideMarkDamaged } from './mark-damaged.decide.js';

const { given } = specificationOf({ initialState: initialChainState, evolve: evolveChain, decide: decideMarkDamaged });
const chain: readonly ChainEvent[] = [
  { type: 'ChainStarted', data: { chain_id: 'c1', vm_id: 'v1', repository_id: 'r1', backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b2', parent_backup_id: 'b1' } },
  { type: 'ChainExtended', data: { backup_id: 'b3', parent_backup_id: 'b2' } },
];
const finding = { code: 'parent_truncated', file: 'f/disk-0.qcow2', verification_id: 'ver1' } as const;
const damaged = (backup_id: string, detail: string, caused_by_backup_id: string | null = null): ChainEvent => ({
  type: 'RestorePointDamaged',
  data: { ...finding, backup_id, detail, caused_by_backup_id },
});

describe('marking a restore point as damaged', () => {
  it('also marks the restore points that depend on it, and names it as the cause', () =>
    given(...chain)
      .when({ ...finding, backup_id: 'b2', detail: 'short' })
      .then(damaged('b2', 'short'), damaged('b3', 'It depends on restore point b2, which is damaged: short', 'b2')));
  it('marks each restore point once', () =>
    given(...chain, damaged('b2', 'short'), damaged('b3', 'short'))
      .when({ backup_id: 'b2', code: 'parent_truncated', detail: 'short' })
      .then());
  it('marks one that depends on a damaged one again for its own files', () =>
    given(...chain, damaged('b2', 'short'), damaged('b3', 'It depends on b2', 'b2'))
      .when({ ...finding, backup_id: 'b3', detail: 'altered' })
      .then(damaged('b3', 'altered')));
  const point = { operation: 'absorb', parent_backup_id: 'b1', merged: ['b2'], comparison: 'equal', files: [] } as const;
  it('leaves alone one that no longer depends on it', () =>
    given(...chain, { type: 'RestorePointRewritten', data: { ...point, backup_id: 'b3', manifest_sha256: 'm', rewritten_at: 'now' } })
      .when({ ...finding, backup_id: 'b2', detail: 'short' })
      .then(damaged('b2', 'short')));
  it('does not take files that are being replaced for damaged ones', () =>
    given(...chain, { type: 'RestorePointRewriteStarted', data: { ...point, backup_id: 'b3', started_at: 'now' } })
      .when({ ...finding, backup_id: 'b3', detail: 'altered' })
      .then());
  it('ignores a restore point that is not in the chain', () =>
    given(...chain)
      .when({ backup_id: 'b9', code: 'parent_missing', detail: '' })
      .then());
});

describe('a defect means to the restore points that depend on it', () => {
  it.each([
    ['restore_point_missing', 'parent_missing'],
    ['file_missing', 'parent_missing'],
    ['file_truncated', 'parent_truncated'],
    ['manifest_broken', 'parent_altered'],
    ['manifest_differs', 'parent_altered'],
    ['file_altered', 'parent_altered'],
    ['file_unreadable', 'parent_altered'],
    ['parent_differs', 'parent_altered'],
    ['image_damaged', 'parent_altered'],
  ] as const)('%s: %s', (code, damage) => {
    expect(damageCodeOf(code)).toBe(damage);
  });
});
