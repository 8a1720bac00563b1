import { describe, expect, it } from '@jest/globals';
import { type ChainMember, sourceFilesOf } from './source-files.plan.js';

/** A restore point whose disks are given as [number, parent file]. */
function point(backup_id: string, ...disks: readonly (readonly [disk_id: number, parent_file: string | null])[]): ChainMember {
  return {
    backup_id,
    folder: `vm/${backup_id}`,
    disks: disks.map(([disk_id, parent_file]) => ({ disk_id, file: `disk-${disk_id}.qcow2`, parent_file })),
    files: disks.map(([disk_id]) => ({ disk_id, file: `disk-${disk_id}.qcow2`, size_bytes: 10 + disk_id, sha256: `${backup_id}-${disk_id}` })),
  };
}

describe('the files that a disk is read from', () => {
  it('is the full alone for the full itself', () => {
    expect(sourceFilesOf('f', 0, [point('f', [0, null])])).toEqual([{ backup_id: 'f', file: 'vm/f/disk-0.qcow2', size_bytes: 10, sha256: 'f-0' }]);
  });

  it('follows parent files from the full on, also where the disk had another number', () => {
    const chain = [point('b', [0, 'vm/a/disk-1.qcow2']), point('a', [0, 'vm/f/disk-0.qcow2'], [1, 'vm/f/disk-2.qcow2']), point('f', [0, null], [2, null])];
    expect(sourceFilesOf('b', 0, chain).map(({ file }) => file)).toEqual(['vm/f/disk-2.qcow2', 'vm/a/disk-1.qcow2', 'vm/b/disk-0.qcow2']);
  });

  it('ends at the incremental that holds a new disk in full', () => {
    expect(sourceFilesOf('a', 1, [point('f', [0, null]), point('a', [0, 'vm/f/disk-0.qcow2'], [1, null])])).toHaveLength(1);
  });

  it('refuses a chain without its full, a file that was not sealed, and a cycle', () => {
    expect(() => sourceFilesOf('a', 0, [point('a', [0, 'vm/f/disk-0.qcow2'])])).toThrow('ends before the full');
    expect(() => sourceFilesOf('f', 0, [{ ...point('f', [0, null]), files: [] }])).toThrow('no sealed file');
    expect(() => sourceFilesOf('a', 0, [point('a', [0, 'vm/b/disk-0.qcow2']), point('b', [0, 'vm/a/disk-0.qcow2'])])).toThrow('cycle');
  });
});
