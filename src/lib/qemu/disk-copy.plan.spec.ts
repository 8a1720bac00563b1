import { describe, expect, it } from '@jest/globals';
import { compareArgv, convertArgv, percentIn, restoredChainNames, restoredFileName } from './disk-copy.plan.js';

describe('copying disks', () => {
  it('names every format, so that qemu never guesses one from the content', () => {
    const graph =
      'json:{"driver":"qcow2","file":{"driver":"file","filename":"/r/i \\"x.qcow2"},"backing":{"driver":"qcow2","file":{"driver":"file","filename":"/r/f.qcow2"},"backing":null}}';
    const chain = ['/r/f.qcow2', '/r/i "x.qcow2'] as const;
    expect(convertArgv(chain, '/t/d.raw', 'raw')).toEqual(['qemu-img', 'convert', '-p', '-O', 'raw', graph, '/t/d.raw']);
    expect(compareArgv(chain, '/t/d.raw', 'raw')).toEqual(['qemu-img', 'compare', '-p', '-F', 'raw', graph, '/t/d.raw']);
  });

  it('reads the latest progress', () => {
    expect(percentIn('    (0.00/100%)\r    (12.50/100%)\r')).toBe(12.5);
    expect(percentIn('')).toBe(0);
  });

  it.each([
    ['pgtest1', 'pgtest1-disk0.raw'],
    ['../../etc', '_._.._etc-disk0.raw'],
    ['.hidden', '_hidden-disk0.raw'],
    ['Büro "1"', 'Büro_1_-disk0.raw'],
  ])('makes a file name of a VM named %s', (name, file) => {
    expect(restoredFileName(name, 0, 'raw')).toBe(file);
  });

  it('names a chain oldest first', () => {
    expect(restoredChainNames('vm', 1, 3)).toEqual(['vm-disk1.base1.qcow2', 'vm-disk1.base2.qcow2', 'vm-disk1.qcow2']);
  });
});
