import { describe, expect, it } from '@jest/globals';
import { conflictWith, fitsPattern, type OtherPolicy, type SelectableVm, select } from './selection.plan.js';

const NOW = '2027-01-05T12:00:00.000Z';
const vm = (name: string, ...labels: readonly string[]): SelectableVm => ({ vm_id: `id-${name}`, name, node_id: 'n1', source: 'image', labels });
const vms = [vm('web-1', 'env=prod'), vm('web-2'), vm('db-1', 'env=prod', 'scratch')];
const policy: OtherPolicy = { name: 'nightly', repository_id: 'r1', include: [{ by: 'name', value: 'web-*' }], exclude: [], opt_outs: [] };
const names = (choices: readonly { readonly vm_name: string }[]): readonly string[] => choices.map(({ vm_name }) => vm_name);

describe('a selection', () => {
  it.each([
    ['vm_id', 'id-web-2', ['web-2']],
    ['name', 'web-*', ['web-1', 'web-2']],
    ['name', '*', ['web-1', 'web-2', 'db-1']],
    ['label', 'env=prod', ['web-1', 'db-1']],
    ['node_id', 'n1', ['web-1', 'web-2', 'db-1']],
    ['node_id', 'n2', []],
    ['source', 'image', ['web-1', 'web-2', 'db-1']],
    ['source', 'libvirt', []],
  ] as const)('by %s %s has the VMs %j', (by, value, expected) => {
    expect(names(select({ ...policy, include: [{ by, value }] }, vms, NOW).vms)).toEqual(expected);
  });

  it('includes first and excludes then, each with its reason', () => {
    const settings = {
      ...policy,
      include: [...policy.include, { by: 'label', value: 'env=prod' } as const],
      exclude: [{ by: 'label', value: 'scratch' } as const],
    };
    expect(select(settings, vms, NOW)).toEqual({
      vms: [
        { vm_id: 'id-web-1', vm_name: 'web-1', because: 'name web-*' },
        { vm_id: 'id-web-2', vm_name: 'web-2', because: 'name web-*' },
      ],
      left_out: [{ vm_id: 'id-db-1', vm_name: 'db-1', because: 'excluded by label scratch' }],
    });
  });

  it('leaves out a VM that has opted out, until that ends', () => {
    const optedOut = (until: string | null) => ({ ...policy, opt_outs: [{ vm_id: 'id-web-1', reason: 'It is being moved.', until }] });
    const ends = '2027-01-06T00:00:00.000Z';
    expect(select(optedOut(null), vms, NOW).left_out).toEqual([{ vm_id: 'id-web-1', vm_name: 'web-1', because: 'opted out: It is being moved.' }]);
    expect(select(optedOut(ends), vms, NOW).left_out).toMatchObject([{ because: `opted out until ${ends}: It is being moved.` }]);
    expect(names(select(optedOut(ends), vms, ends).vms)).toEqual(['web-1', 'web-2']);
  });

  it('leaves a VM to an earlier policy with the same repository', () => {
    const all: OtherPolicy = { ...policy, name: 'all', include: [{ by: 'name', value: '*' }] };
    const { vms: chosen, left_out } = select(all, vms, NOW, [policy]);
    expect(names(chosen)).toEqual(['db-1']);
    expect(left_out[0]).toMatchObject({ vm_name: 'web-1', because: 'policy "nightly" backs it up into the same repository' });
    expect(names(select(all, vms, NOW, [{ ...policy, repository_id: 'r2' }]).vms)).toHaveLength(3);
  });
});

describe('a conflict of two policies', () => {
  const one: OtherPolicy = { ...policy, name: 'one', include: [{ by: 'vm_id', value: 'id-web-2' }] };

  it('is a VM that both back up into the same repository', () => {
    expect(conflictWith(one, vms, NOW, [policy])).toEqual({ vm_name: 'web-2', policy_name: 'nightly' });
  });

  it('is none with other VMs, another repository, or an opt-out', () => {
    expect(conflictWith({ ...one, include: [{ by: 'name', value: 'db-*' }] }, vms, NOW, [policy])).toBeNull();
    expect(conflictWith({ ...one, repository_id: 'r2' }, vms, NOW, [policy])).toBeNull();
    expect(conflictWith(one, vms, NOW, [{ ...policy, opt_outs: [{ vm_id: 'id-web-2', reason: 'x', until: null }] }])).toBeNull();
  });
});

describe('a name pattern', () => {
  it.each([
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['web', 'web', true],
    ['web', 'web-1', false],
    ['web-?', 'web-1', true],
    ['web-?', 'web-12', false],
    ['*-db-*', 'a-db-1', true],
    ['*-db', 'a-db-db', true],
    ['a*b*c', 'aXbXbXc', true],
    ['a*b*c', 'aXbXbX', false],
    ['.*', 'abc', false],
    ['büro ?', 'büro 🐘', true],
  ])('"%s" and the name "%s": %s', (pattern, name, fits) => {
    expect(fitsPattern(pattern, name)).toBe(fits);
  });

  it('is compared quickly however many stars it has', () => {
    expect(fitsPattern('*a'.repeat(60), 'a'.repeat(59).repeat(2))).toBe(true);
    expect(fitsPattern(`${'*a'.repeat(60)}b`, 'a'.repeat(128))).toBe(false);
  });
});
