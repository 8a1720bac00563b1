import { describe, expect, it } from '@jest/globals';
import { finishedManifest, manifestAsFound } from './manifest-rewriting.plan.js';
import type { Manifest, ManifestDisk, Rewriting } from './manifest.js';

const disk = (disk_id: number, state: 'old' | 'new'): ManifestDisk => ({
  disk_id,
  disk_key: `sd${disk_id}`,
  file: `disk-${disk_id}.qcow2`,
  virtual_size_bytes: 1024,
  source_format: 'qcow2',
  change_id: `change-${disk_id}`,
  parent_change_id: state === 'old' ? 'parent' : null,
  file_size_bytes: state === 'old' ? 10 : 20,
  sha256: `${state}-${disk_id}`,
  mtime_ns: '1',
  backing_file: state === 'old' ? `../full/disk-${disk_id}.qcow2` : null,
  blocks: null,
  compression: null,
});
const rewriting: Rewriting = { operation: 'flatten', at: '2027-01-02T00:00:00.000Z', merged: ['full'], parent: null, disks: [disk(0, 'new'), disk(1, 'new')] };
// What it says of the backup itself is taken over as it is.
const stored = {
  backup_id: 'incremental',
  backup_type: 'incremental',
  full_reason: null,
  parent: { backup_id: 'full', folder: 'vm/full' },
  disks: [disk(0, 'old'), disk(1, 'old'), disk(2, 'old')],
  rewriting,
} as unknown as Manifest;

describe('the manifest of a restore point whose files are being replaced', () => {
  it('describes each file as it is', () => {
    const shaOf = (replaced: readonly string[]) => manifestAsFound(stored, new Set(replaced)).disks.map(({ sha256 }) => sha256);
    expect(shaOf([])).toEqual(['old-0', 'old-1', 'old-2']);
    expect(shaOf(['disk-1.qcow2'])).toEqual(['old-0', 'new-1', 'old-2']);
    expect(manifestAsFound(stored, new Set(['disk-1.qcow2'])).parent).toEqual(stored.parent);
  });

  it('is the finished one when all are replaced', () => {
    expect(manifestAsFound(stored, new Set(['disk-0.qcow2', 'disk-1.qcow2']))).toEqual(finishedManifest(stored, rewriting));
  });

  it('is the stored one without a rewriting', () => {
    const { rewriting: _, ...plain } = stored;
    expect(manifestAsFound(plain, new Set(['disk-0.qcow2']))).toBe(plain);
  });
});

describe('the finished manifest', () => {
  const finished = finishedManifest(stored, rewriting);

  it('has the new parent, the new entries, and those of files that were not rewritten', () => {
    expect(finished).toMatchObject({ backup_type: 'full', full_reason: 'flattened', parent: null });
    expect(finished.disks.map(({ sha256 }) => sha256)).toEqual(['new-0', 'new-1', 'old-2']);
    expect('rewriting' in finished).toBe(false);
  });

  it('records both files of each rewritten disk, after earlier rewritings', () => {
    const record = {
      operation: 'flatten',
      at: rewriting.at,
      merged: ['full'],
      disks: [0, 1].map((id) => ({
        file: `disk-${id}.qcow2`,
        before: { sha256: `old-${id}`, file_size_bytes: 10 },
        after: { sha256: `new-${id}`, file_size_bytes: 20 },
      })),
    };
    expect(finished.rewrites).toEqual([record]);
    expect(finishedManifest({ ...finished, rewriting }, rewriting).rewrites?.[0]).toEqual(record);
  });

  it('of an absorbed one is an incremental of the new parent', () => {
    const parent = { backup_id: 'other', folder: 'vm/other' };
    expect(finishedManifest(stored, { ...rewriting, operation: 'absorb', parent })).toMatchObject({ backup_type: 'incremental', full_reason: null, parent });
  });
});
