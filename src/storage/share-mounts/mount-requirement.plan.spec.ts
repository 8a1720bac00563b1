import { describe, expect, it } from '@jest/globals';
import { parseMountInfo } from '../../lib/files/mount-table.js';
import { mountProblem } from './mount-requirement.plan.js';

const nfs = { type: 'nfs', server: 'nas', export: '/backups', options: [] } as const;
const table = parseMountInfo(
  [
    '36 35 98:0 / / rw - ext4 /dev/vda rw',
    '37 36 98:1 / /mnt/disk rw - xfs /dev/vdb rw',
    '38 36 0:41 / /auto rw - autofs systemd-1 rw',
    '39 36 0:42 / /auto/disk rw - autofs systemd-1 rw',
    '40 39 98:2 / /auto/disk rw - xfs /dev/vdc rw',
    '41 36 0:43 / /shares/nas rw - nfs4 nas:/backups rw,vers=4.2',
    '42 36 0:44 / /shares/other rw - nfs4 nas:/other rw,vers=4.2',
    '43 36 98:0 /empty /shares/guard ro - ext4 /dev/vda rw',
  ].join('\n'),
);

describe('a repository that must be a mount point', () => {
  it.each(['/mnt/disk', '/auto/disk', '/shares/nas'])('is usable at %s', (path) => expect(mountProblem({ type: 'any' }, path, table)).toBeNull());

  it.each(['/mnt/disk/below', '/mnt', '/auto', '/elsewhere'])('is not usable at %s', (path) =>
    expect(mountProblem({ type: 'any' }, path, table)).toMatch(/^Nothing is mounted/),
  );

  it('is usable only if its share is mounted there', () => {
    expect(mountProblem(nfs, '/shares/nas', table)).toBeNull();
    expect(mountProblem(nfs, '/shares/gone', table)).toMatch(/^Nothing is mounted at .*nas:\/backups/);
    expect(mountProblem(nfs, '/shares/other', table)).toMatch(/"nas:\/other" \(nfs4\) is mounted .* instead of nas:\/backups/);
    expect(mountProblem(nfs, '/shares/guard', table)).toMatch(/instead of/);
  });
});
