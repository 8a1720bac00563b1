import { describe, expect, it } from '@jest/globals';
import { asCopied, type CopiedPoint } from './copied-point.plan.js';

const disk = { disk_id: 0, file: 'disk-0.qcow2', parent_file: 'vm/full/disk-0.qcow2', size_bytes: 1, sha256: 'a', disk_key: 'vda' };
const point = {
  backup_id: 'b2',
  repository_id: 'r1',
  status: 'deleted',
  folder: 'vm/incr',
  manifest_sha256: 'm1',
  files: [],
  disks: [disk],
};
const copy: CopiedPoint = {
  backup_id: 'b2',
  parent_backup_id: 'b1',
  repository_id: 'r2',
  folder: 'vm/incr',
  manifest_sha256: 'm2',
  disks: [{ disk_id: 0, file: 'disk-0.qcow2', parent_file: null, size_bytes: 7, sha256: 'f' }],
  damage: null,
};
const damage = { code: 'file_altered', file: 'vm/full/disk-0.qcow2', detail: 'altered', detected_at: 'then' } as const;

describe('a restore point in the repository of its copy', () => {
  it('has the files of the copy, whatever happened to the one it was copied from', () => {
    expect(asCopied(point, [copy])).toEqual({
      ...point,
      status: 'completed',
      repository_id: 'r2',
      manifest_sha256: 'm2',
      damage: null,
      files: [{ disk_id: 0, file: 'disk-0.qcow2', size_bytes: 7, sha256: 'f', mtime_ns: '0' }],
      disks: [{ ...disk, parent_file: null, size_bytes: 7, sha256: 'f' }],
    });
  });

  it('is damaged as the copy is, or a copy that it depends on', () => {
    const parent = { ...copy, backup_id: 'b1', parent_backup_id: null, damage };
    expect(asCopied(point, [copy, parent])?.damage).toMatchObject({ code: 'parent_altered', caused_by_backup_id: 'b1', verification_id: null });
    expect(asCopied(point, [{ ...copy, damage }, parent])?.damage).toMatchObject({ caused_by_backup_id: null });
    expect(asCopied(point, [copy, { ...parent, backup_id: 'b0' }])?.damage).toBeNull();
  });

  it('is not there without a copy', () => {
    expect(asCopied(point, [{ ...copy, backup_id: 'b1' }])).toBeNull();
  });
});
