import { describe, expect, it } from '@jest/globals';
import type { ChainPruning, PlannedStep } from '../../chains/model/chain.commands.js';
import { worthwhilePrunings } from './worthwhile-prunings.plan.js';

const GIB = 2 ** 30;
const step = (kind: PlannedStep['kind'], backup_id: string, more: Partial<PlannedStep> = {}): PlannedStep => ({
  kind,
  backup_id,
  parent_backup_id: null,
  merged: [],
  read_bytes: 0,
  write_bytes: 0,
  free_bytes: 0,
  ...more,
});
const chain = (...steps: readonly PlannedStep[]): ChainPruning => ({
  chain_id: 'c',
  repository_id: 'r',
  steps,
  left: [],
  read_bytes: 0,
  write_bytes: steps.reduce((bytes, { write_bytes }) => bytes + write_bytes, 0),
  needed_bytes: 0,
  free_bytes: 0,
});
const drop = (backup_id: string, gib: number) => step('drop', backup_id, { free_bytes: gib * GIB });
/** A full of 100 GiB and incrementals of 5 GiB go, and the next incremental becomes the full. */
const flattened = (incrementals: number, written: number): ChainPruning => {
  const ids = Array.from({ length: incrementals }, (_, index) => `i${index}`);
  return chain(step('flatten', 'kept', { merged: [...ids, 'full'], write_bytes: written * GIB }), ...ids.map((id) => drop(id, 5)), drop('full', 100));
};

describe('prunings of expired restore points', () => {
  it('that write a full again wait until a quarter of that goes', () => {
    expect(worthwhilePrunings([flattened(1, 110)])).toEqual([]);
    expect(worthwhilePrunings([flattened(5, 130)])).toEqual([]);
    expect(worthwhilePrunings([flattened(7, 140)])).toEqual(['i0', 'i1', 'i2', 'i3', 'i4', 'i5', 'i6', 'full']);
  });

  it('that share the blocks of the full begin with the first incremental', () => {
    expect(worthwhilePrunings([flattened(0, 5)])).toEqual([]);
    expect(worthwhilePrunings([flattened(1, 10)])).toEqual(['i0', 'full']);
  });

  it('between two kept ones are done at once, also while a full waits below them', () => {
    const full = flattened(0, 105);
    const cheap = [step('absorb', 'k2', { parent_backup_id: 'kept', merged: ['i1'], write_bytes: 10 * GIB }), drop('i1', 5)];
    const dear = [step('absorb', 'k3', { parent_backup_id: 'k2', merged: ['i2'], write_bytes: 60 * GIB }), drop('i2', 5)];
    expect(worthwhilePrunings([chain(...full.steps, ...cheap, ...dear)])).toEqual(['i1']);
  });

  it('count together if they are worth it together', () => {
    const absorbed = [step('absorb', 'k2', { parent_backup_id: 'kept', merged: ['i9'], write_bytes: 60 * GIB }), drop('i9', 40)];
    expect(worthwhilePrunings([chain(...flattened(5, 130).steps, ...absorbed)])).toEqual(['i0', 'i1', 'i2', 'i3', 'i4', 'full', 'i9']);
  });

  it('are decided chain by chain', () => {
    const absorbed = chain(step('absorb', 'kept', { parent_backup_id: 'full', merged: ['i0'], write_bytes: 10 * GIB }), drop('i0', 5));
    expect(worthwhilePrunings([flattened(0, 105), absorbed])).toEqual(['i0']);
    expect(worthwhilePrunings([])).toEqual([]);
  });
});
