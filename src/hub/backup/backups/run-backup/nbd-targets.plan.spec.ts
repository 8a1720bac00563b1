import { describe, expect, it } from '@jest/globals';
import { backingPath, exportName, nbdTargetsString } from './nbd-targets.plan.js';

const vmId = '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b';
const at = '2026-01-02T03:04:05.678Z';

describe('names of exports', () => {
  it('contain VM, disk, type and time', () => {
    expect(exportName('pgtest1', vmId, 0, 'full', at)).toBe('backup-pgtest1-disk0-full-20260102T030405678Z');
    expect(exportName('pgtest1', vmId, 12, 'incremental', at)).toBe('backup-pgtest1-disk12-incr-20260102T030405678Z');
  });

  it('stay under 64 characters, need no escaping in a URI, and distinguish VMs with similar names', () => {
    for (const name of ['Datenbank für Bücher', 'x'.repeat(255), 'a b', '数据库'.repeat(40)]) {
      const text = exportName(name, vmId, 100, 'incremental', at);
      expect(text.length).toBeLessThan(64);
      expect(text).toMatch(/^backup-[A-Za-z0-9._~-]+-disk100-incr-20260102T030405678Z$/);
      expect(text).not.toBe(exportName(name, vmId.replace(/.$/, 'c'), 100, 'incremental', at));
    }
  });
});

describe('the targets string for the node', () => {
  it('joins percent-encoded disk keys and addresses', () => {
    const disk = (disk_key: string, nbd_port: number) => ({
      planned: { disk_id: 0, disk_key, size_bytes: 1, source_format: 'qcow2', file: 'f', parent_file: null, parent_change_id: null },
      target: { disk_id: 0, export_id: 'e', export_name: 'n', nbd_port, qcow2_path: '/p' },
    });
    const reach = ({ nbd_port }: { readonly nbd_port: number }): string => `nbds://10.0.0.1:${nbd_port}/n`;
    expect(nbdTargetsString([disk('a,b:c.qcow2', 10100), disk('d.qcow2', 10101)], reach)).toBe(
      'a%2Cb%3Ac.qcow2:nbds://10.0.0.1:10100/n,d.qcow2:nbds://10.0.0.1:10101/n',
    );
  });
});

describe('the path to a parent', () => {
  it('is relative to the child, within the folder of the VM', () => {
    expect(backingPath('vm-1/20260102T030405Z-incr-a', 'vm-1/20260101T000000Z-full-b/disk-0.qcow2')).toBe('../20260101T000000Z-full-b/disk-0.qcow2');
    expect(backingPath('new-1/20260102T030405Z-incr-a', 'old-1/20260101T000000Z-full-b/disk-0.qcow2')).toBe('../../old-1/20260101T000000Z-full-b/disk-0.qcow2');
  });
});
