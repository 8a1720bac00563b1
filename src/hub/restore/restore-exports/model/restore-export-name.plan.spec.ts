import { describe, expect, it } from '@jest/globals';
import { overlayDirectory, overlaysDirectory, restoreExportName } from './restore-export-name.plan.js';

const ID = '01999999-aaaa-7bbb-8ccc-0123456789ab';

describe('the name of an export of a restore point', () => {
  it('tells the VM, the disk and the end of its id', () => {
    expect(restoreExportName('pgtest1', 2, ID)).toBe('restore-pgtest1-disk2-456789ab');
  });

  it.each([
    ['web (old)', 'web_old_'],
    ['a/b?c=d&e#f%20', 'a_b_c_d_e_f_20'],
    ['数据库', '_'],
    ['a-b_c.d', 'a_b_c.d'],
  ])('has nothing in it that needs escaping in a URI: %s', (vm, word) => {
    const name = restoreExportName(vm, 0, ID);
    expect(name).toBe(`restore-${word}-disk0-456789ab`);
    expect(encodeURIComponent(name)).toBe(name);
  });

  it('stays under 64 characters, however long the name of the VM and the number of the disk are', () => {
    const name = restoreExportName('x'.repeat(128), 9_999_999, ID);
    expect(name).toBe(`restore-${'x'.repeat(30)}-disk9999999-456789ab`);
    expect(name.length).toBeLessThan(64);
  });
});

describe('the folder of an overlay', () => {
  it('has the name of the id of its export, in the folder of all overlays', () => {
    expect(overlaysDirectory('/run/sendense')).toBe('/run/sendense/restore-exports');
    expect(overlayDirectory('/run/sendense', 'e-1')).toBe('/run/sendense/restore-exports/e-1');
  });
});
