import { describe, expect, it } from '@jest/globals';
import { reportBody } from '../model/report.plan.js';
import { type HeldPoint, THREE_TWO_ONE_REPORT, type ThreeTwoOneFacts, threeTwoOneReport } from './three-two-one-report.plan.js';

const AT = '2027-01-05T12:00:00.000Z';
const repositories: ThreeTwoOneFacts['repositories'] = new Map([
  ['r1', { name: 'main', place: { site: 'Bonn', off_site: false, medium: 'local_disk' } }],
  ['r2', { name: 'second', place: { site: 'Bonn', off_site: false, medium: 'local_disk' } }],
  ['r3', { name: 'far', place: { site: 'Berlin', off_site: true, medium: 'network_share' } }],
  ['r4', { name: 'new', place: null }],
]);

function point(repository_ids: readonly string[], hours = 1): HeldPoint {
  return { backup_id: `b${hours}`, vm_id: 'v1', instant: new Date(Date.parse(AT) - hours * 3_600_000).toISOString(), repository_ids };
}
function rowOf(...points: readonly HeldPoint[]) {
  const content = threeTwoOneReport({ vms: [{ vm_id: 'v1', name: 'web' }], points, repositories }, { at: AT, within_hours: '48' });
  const { totals, tables } = reportBody(THREE_TWO_ONE_REPORT, {}, content);
  return { totals, row: tables['vms']?.[0] };
}

describe('3-2-1 of a VM', () => {
  it('is kept with a copy on other storage, off-site', () => {
    const { row, totals } = rowOf(point(['r1', 'r3']));
    expect(row).toEqual({
      vm: 'web',
      verdict: 'kept',
      three: 'yes',
      two: 'yes',
      one: 'yes',
      instant: '2027-01-05T11:00:00.000Z',
      age_seconds: 3600,
      places: 'main (Bonn, local_disk); far (Berlin, network_share, off-site)',
      missing: null,
      backup_id: 'b1',
      vm_id: 'v1',
    });
    expect(totals).toEqual({ vms: 1, kept: 1, broken: 0, three: 1, two: 1, one: 1 });
  });

  it.each([
    [['r1'], 'no no no', 'second_repository, second_kind_of_storage, off_site_repository'],
    [['r1', 'r2'], 'yes no no', 'second_kind_of_storage, off_site_repository'],
    [['r3'], 'no no yes', 'second_repository, second_kind_of_storage'],
    [['r1', 'r4'], 'yes no no', 'second_kind_of_storage, off_site_repository, place_of_new_not_stated'],
    [['r2', 'r1', 'r3'], 'yes yes yes', null],
  ])('in %j: %s', (ids, digits, missing) => {
    const { row } = rowOf(point(ids));
    expect([`${String(row?.['three'])} ${String(row?.['two'])} ${String(row?.['one'])}`, row?.['missing']]).toEqual([digits, missing]);
  });

  it('is judged by the restore point that keeps most of it, the newest of several', () => {
    expect(rowOf(point(['r1'], 1), point(['r1', 'r3'], 30), point(['r1', 'r3'], 20)).row).toMatchObject({ verdict: 'kept', backup_id: 'b20' });
    expect(rowOf(point(['r1'], 1), point(['r1'], 2)).row).toMatchObject({ verdict: 'broken', backup_id: 'b1' });
  });

  it('is broken without a recent restore point', () => {
    expect(rowOf().row).toMatchObject({ verdict: 'broken', three: 'no', two: 'no', one: 'no', missing: 'no_recent_restore_point', backup_id: null });
  });
});
