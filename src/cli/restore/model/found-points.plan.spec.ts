import { describe, expect, it } from '@jest/globals';
import { chainOf, choosePoint, type FoundPoint } from './found-points.plan.js';

const point = (backupId: string, instant: string, more: Partial<FoundPoint> = {}): FoundPoint => ({
  backup_id: backupId,
  folder: `web/${instant}-${backupId}`,
  vm_id: 'v1',
  vm_name: 'web',
  backup_type: 'full',
  instant,
  parent_backup_id: null,
  chain_id: 'c1',
  disks: [],
  ...more,
});
const first = point('00000001-aaaa', '2026-11-21T10:00:00.000Z');
const newest = point('00000003-aabb', '2026-11-23T10:00:00.000Z', { parent_backup_id: '00000002-aaab' });
const second = point('00000002-aaab', '2026-11-22T10:00:00.000Z', { parent_backup_id: '00000001-aaaa' });
const other = point('00000004-cccc', '2026-11-24T10:00:00.000Z', { vm_id: 'v2', vm_name: 'db', folder: 'db/x' });
const ofWeb = [first, newest, second];
const all = [...ofWeb, other];

const choice = (points: readonly FoundPoint[], wanted: { readonly point?: string; readonly vm?: string } = {}) =>
  choosePoint(points, { point: wanted.point, vm: wanted.vm });

describe('choosing a restore point', () => {
  it('takes the newest of the only VM, in whatever order they are found', () => {
    expect(choice(ofWeb)).toEqual({ point: newest });
    expect(choice([...ofWeb].reverse(), { point: 'latest' })).toEqual({ point: newest });
  });

  it('takes the newest of the VM that is named, by its name or its id', () => {
    expect(choice(all, { vm: 'web' })).toEqual({ point: newest });
    expect(choice(all, { vm: 'v2', point: 'latest' })).toEqual({ point: other });
  });

  it('asks which VM is meant when there are several', () => {
    expect(choice(all)).toEqual({ problem: expect.stringContaining('--vm NAME') });
    expect(choice(all, { point: 'latest' })).toEqual({ problem: expect.stringContaining('--vm NAME') });
  });

  it.each([
    ['its id', '00000002-aaab'],
    ['its id in capitals', '00000002-AAAB'],
    ['the end of its id', 'aaab'],
    ['its folder', second.folder],
    ['the last name of its folder', '2026-11-22T10:00:00.000Z-00000002-aaab'],
  ])('takes the one that is named by %s', (_what, named) => {
    expect(choice(all, { point: named })).toEqual({ point: second });
  });

  it('does not take part of a name of a folder for the name', () => {
    expect(choice([point('00000001-aaaa', 'x', { folder: 'web/2026-full' })], { point: 'full' })).toEqual({
      problem: expect.stringContaining('there is no restore point full'),
    });
  });

  it('takes none when several fit, and says how many', () => {
    const twin = point('00000005-aaab', '2026-11-25T10:00:00.000Z');
    expect(choice([...all, twin], { point: 'aaab' })).toEqual({ problem: '"aaab" matches 2 restore points; give more of the id' });
  });

  it('takes none of another VM than the one that is named', () => {
    expect(choice(all, { vm: 'db', point: 'aaab' })).toEqual({ problem: expect.stringContaining('there is no restore point aaab') });
  });

  it('says that there is none: in the repository, or of the VM', () => {
    expect(choice([])).toEqual({ problem: 'the repository holds no restore points' });
    expect(choice(all, { vm: 'mail' })).toEqual({ problem: 'the repository holds no restore point of a VM "mail"' });
  });
});

describe('the chain of a restore point', () => {
  it('is what it stands on, oldest first', () => {
    expect(chainOf(newest, all)).toEqual({ chain: [first, second, newest], missing: null });
    expect(chainOf(first, all)).toEqual({ chain: [first], missing: null });
  });

  it('ends where a parent is missing, and names it', () => {
    expect(chainOf(newest, [first, newest])).toEqual({ chain: [newest], missing: second.backup_id });
    expect(chainOf(newest, [second, newest])).toEqual({ chain: [second, newest], missing: first.backup_id });
  });

  it('ends where parents go round in a circle', () => {
    const a = point('a', '2026-11-21T10:00:00.000Z', { parent_backup_id: 'b' });
    const b = point('b', '2026-11-22T10:00:00.000Z', { parent_backup_id: 'a' });
    expect(chainOf(a, [a, b])).toEqual({ chain: [b, a], missing: 'a' });
  });
});
