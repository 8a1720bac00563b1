import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { CAPACITY_REPORT, type CapacityFacts, capacityReport, type StoredVm } from './capacity-report.plan.js';

const PERIOD = { from: '2027-01-01T00:00:00.000Z', until: '2027-01-11T00:00:00.000Z' };

function stored(vm: string, repository_id: string, restore_points: number, size_bytes: number): StoredVm {
  return { vm_id: `id-${vm}`, vm, repository_id, restore_points, size_bytes };
}

function reportOf(facts: Partial<CapacityFacts>) {
  const body = reportBody(CAPACITY_REPORT, {}, capacityReport({ begin: [], end: [], repositories: new Map(), spaces: new Map(), ...facts }, PERIOD));
  return { totals: body.totals, vms: body.tables['vms'] ?? [], repositories: body.tables['repositories'] ?? [] };
}

describe('the report of capacity', () => {
  it('has what each VM uses and how that changed, those that grew most first', () => {
    const { vms, repositories, totals } = reportOf({
      begin: [stored('web', 'r1', 2, 100), stored('db', 'r1', 5, 900), stored('gone', 'r2', 1, 50)],
      end: [stored('web', 'r1', 3, 300), stored('db', 'r1', 4, 700), stored('db', 'r2', 1, 500)],
      repositories: new Map([
        ['r1', 'vault'],
        ['r3', 'empty'],
      ]),
    });
    expect(
      vms.map(({ vm, repository, restore_points, size_bytes, growth_bytes, growth_per_day_bytes, share_percent }) => [
        [vm, repository],
        [restore_points, size_bytes, growth_bytes, growth_per_day_bytes, share_percent],
      ]),
    ).toEqual([
      [
        ['db', 'r2'],
        [1, 500, 500, 50, 100],
      ],
      [
        ['web', 'vault'],
        [3, 300, 200, 20, 30],
      ],
      [
        ['gone', 'r2'],
        [0, 0, -50, -5, 0],
      ],
      [
        ['db', 'vault'],
        [4, 700, -200, -20, 70],
      ],
    ]);
    expect(repositories).toMatchObject([
      { repository: 'empty', vms: 0, restore_points: 0, size_bytes: 0, growth_bytes: 0 },
      { repository: 'r2', vms: 1, size_bytes: 500, size_at_begin_bytes: 50, growth_bytes: 450, growth_per_day_bytes: 45 },
      { repository: 'vault', vms: 2, restore_points: 7, size_bytes: 1000, growth_bytes: 0 },
    ]);
    expect(totals).toMatchObject({ repositories: 3, vms: 2, restore_points: 8, size_bytes: 1500, size_at_begin_bytes: 1050, growth_bytes: 450 });
  });

  it('has the measured space of a repository, and the day when it is full, or why there is none', () => {
    const measured = { total_bytes: 1000, free_bytes: 100, measured_at: PERIOD.until };
    const { repositories } = reportOf({
      repositories: new Map(['a', 'b', 'c'].map((id) => [id, id])),
      spaces: new Map([
        ['a', { ...measured, full_on: '2027-03-01', reason: null }],
        ['b', { ...measured, full_on: null, reason: 'not_growing' }],
      ]),
    });
    expect(repositories.map(({ free_bytes, full_on, forecast }) => [free_bytes, full_on, forecast])).toEqual([
      [100, '2027-03-01', 'full'],
      [100, null, 'not_growing'],
      [null, null, 'never_measured'],
    ]);
  });

  it('is empty without restore points', () => {
    expect(reportOf({})).toMatchObject({ totals: { vms: 0, size_bytes: 0 }, vms: [], repositories: [] });
  });
});
