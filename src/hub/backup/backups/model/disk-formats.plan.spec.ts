import { describe, expect, it } from '@jest/globals';
import { refuseOtherFormat } from './disk-formats.plan.js';

const disk = (disk_key: string, format: string, size_bytes = 1): { disk_key: string; format: string; size_bytes: number } => ({
  disk_key,
  format,
  size_bytes,
});

describe('the format of a disk', () => {
  it.each([
    ['raw', 'qcow2'],
    ['qcow2', 'raw'],
  ])('may not change from %s to %s after registration', (before, now) => {
    const known = [disk('vda', 'qcow2'), disk('vdb', before)];
    expect(() => refuseOtherFormat('web1', known, [disk('vda', 'qcow2'), disk('vdb', now)])).toThrow(
      expect.objectContaining({ code: 'disk_format_changed', facts: { disk_key: 'vdb', registered_format: before, format: now } }),
    );
  });

  it('may be any for a new disk, and for one that could not be read before', () => {
    expect(() => refuseOtherFormat('web1', [disk('vda', 'raw', 0)], [disk('vda', 'qcow2'), disk('vdb', 'raw')])).not.toThrow();
  });
});
