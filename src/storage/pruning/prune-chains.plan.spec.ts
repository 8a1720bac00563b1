import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { planPruning, type PrunablePoint, type PruneStep } from './prune-chains.plan.js';

const ENOUGH = 2 ** 50;

const point = (backup_id: string, parent_backup_id: string | null, size_bytes: number, expired = false, rewritable = true): PrunablePoint => ({
  backup_id,
  parent_backup_id,
  expired,
  rewritable,
  files: [{ disk_id: 0, size_bytes, has_backing: parent_backup_id !== null }],
});
const kinds = (steps: readonly PruneStep[]): readonly string[] => steps.map(({ kind, backup_id }) => `${kind} ${backup_id}`);

describe('the plan of pruning', () => {
  it('drops what nothing depends on, newest first', () => {
    const { steps, free_bytes } = planPruning([point('f', null, 100), point('i', 'f', 10, true), point('j', 'i', 20, true)], 0, false);
    expect(kinds(steps)).toEqual(['drop j', 'drop i']);
    expect(free_bytes).toBe(30);
  });

  it('bases a kept restore point on its nearest kept ancestor, so that all between go', () => {
    const plan = planPruning([point('f', null, 100), point('i', 'f', 10, true), point('j', 'i', 20, true), point('k', 'j', 5)], ENOUGH, false);
    expect(kinds(plan.steps)).toEqual(['absorb k', 'drop j', 'drop i']);
    expect(plan.steps[0]).toMatchObject({ parent_backup_id: 'f', merged: ['j', 'i'], write_bytes: 35, new_bytes: 35, free_bytes: -30 });
    expect([plan.read_bytes, plan.write_bytes, plan.free_bytes]).toEqual([3 * 35 + 35, 35, 0]);
  });

  it('makes a full of the oldest kept restore point, at the cost of the changes where blocks can be shared', () => {
    const points = [point('f', null, 100, true), point('i', 'f', 10, true), point('j', 'i', 20), point('k', 'j', 5)];
    expect(planPruning(points, ENOUGH, false)).toMatchObject({
      write_bytes: 130,
      steps: [{ kind: 'flatten', backup_id: 'j' }, { kind: 'drop' }, { kind: 'drop' }],
    });
    expect(planPruning(points, ENOUGH, true).write_bytes).toBe(30);
  });

  it('makes room first, and refuses if the largest new file still does not fit', () => {
    const points = [point('f', null, 100, true), point('i', 'f', 10), point('j', 'i', 40, true)];
    expect(kinds(planPruning(points, 70, false).steps)).toEqual(['drop j', 'flatten i', 'drop f']);
    expect(() => planPruning(points, 69, false)).toThrow(
      expect.objectContaining({ code: 'prune_needs_space', facts: expect.objectContaining({ needed_bytes: 110 }) }),
    );
  });

  it('leaves what a restore point stands on that cannot be rewritten', () => {
    const points = [point('f', null, 100, true), point('i', 'f', 10, true), point('j', 'i', 10, false, false), point('k', 'j', 10, true), point('l', 'k', 10)];
    const { steps, left } = planPruning(points, ENOUGH, false);
    expect(left).toEqual([
      { backup_id: 'i', needed_by: 'j' },
      { backup_id: 'f', needed_by: 'j' },
    ]);
    expect(kinds(steps)).toEqual(['absorb l', 'drop k']);
  });

  it('counts a disk only up to the restore point in which it was new', () => {
    const disks = (files: PrunablePoint['files']): Pick<PrunablePoint, 'files'> => ({ files });
    const points = [
      point('f', null, 100),
      {
        ...point('i', 'f', 10, true),
        ...disks([
          { disk_id: 0, size_bytes: 10, has_backing: true },
          { disk_id: 1, size_bytes: 50, has_backing: false },
        ]),
      },
      {
        ...point('j', 'i', 1),
        ...disks([
          { disk_id: 0, size_bytes: 1, has_backing: true },
          { disk_id: 1, size_bytes: 2, has_backing: true },
        ]),
      },
    ];
    expect(planPruning(points, ENOUGH, false).write_bytes).toBe(11 + 52);
  });
});

/** A model of restore points: what each stores itself, by block. */
interface ModelPoint extends PrunablePoint {
  readonly own: ReadonlyMap<number, number>;
}

const chains = fc
  .array(
    fc.record({
      full: fc.nat(5).map((number) => number === 0),
      expired: fc.boolean(),
      rewritable: fc.nat(9).map((number) => number > 0),
      size: fc.integer({ min: 1, max: 1000 }),
      own: fc.array(fc.tuple(fc.nat(15), fc.nat()), { maxLength: 8 }),
    }),
    { minLength: 1, maxLength: 14 },
  )
  .map((all) =>
    all.map(({ full, expired, rewritable, size, own }, index): ModelPoint => ({
      ...point(`p${index}`, full || index === 0 ? null : `p${index - 1}`, size, expired, rewritable),
      own: new Map(own),
    })),
  );

function contentOf(id: string, points: ReadonlyMap<string, ModelPoint>): ReadonlyMap<number, number> {
  const found = points.get(id);
  if (found === undefined) throw new Error(`${id} is missing`);
  return new Map([...(found.parent_backup_id === null ? [] : contentOf(found.parent_backup_id, points)), ...found.own]);
}

describe('whatever expires of whatever chains', () => {
  it('only expired restore points go, none that is left refers to one that has gone, at any step, and every content stays', () => {
    fc.assert(
      fc.property(chains, fc.boolean(), (all, shares) => {
        const { steps, left } = planPruning(all, ENOUGH, shares);
        const points = new Map(all.map((each) => [each.backup_id, each]));
        const truth = new Map(all.map(({ backup_id }) => [backup_id, contentOf(backup_id, points)]));
        for (const step of steps) {
          const target = points.get(step.backup_id);
          if (target === undefined) throw new Error(`${step.backup_id} was dropped before`);
          if (step.kind === 'drop') {
            expect(target.expired).toBe(true);
            points.delete(step.backup_id);
          } else {
            expect([target.expired && !left.some(({ backup_id }) => backup_id === step.backup_id), target.rewritable]).toEqual([false, true]);
            // Oldest first, so that newer blocks win.
            const layers = [...step.merged].reverse().flatMap((id) => [...(points.get(id)?.own ?? [])]);
            const parent_backup_id = step.kind === 'absorb' ? step.parent_backup_id : null;
            points.set(step.backup_id, { ...target, parent_backup_id, own: new Map([...layers, ...target.own]) });
          }
          for (const id of points.keys()) expect(contentOf(id, points)).toEqual(truth.get(id));
        }
        const stays = all.filter(({ backup_id, expired }) => !expired || left.some((each) => each.backup_id === backup_id));
        expect([...points.keys()]).toEqual(stays.map(({ backup_id }) => backup_id));
      }),
    );
  });
});
