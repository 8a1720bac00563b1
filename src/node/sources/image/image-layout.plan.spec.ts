import { describe, expect, it } from '@jest/globals';
import { diskFileNames, doubtOfRaw, formatOfName, withoutParents } from './image-layout.plan.js';

describe('disks of a VM folder', () => {
  it('are its image files in natural order', () => {
    expect(diskFileNames(['disk10.qcow2', 'disk2.QCOW2', 'notes.txt', '.hidden.raw', 'a.img', 'x.vmdk', 'Ü, 1.raw'])).toEqual([
      'a.img',
      'disk2.QCOW2',
      'disk10.qcow2',
      'Ü, 1.raw',
    ]);
  });

  it('are numbered the same in any order of the folder listing', () => {
    const names = ['b.raw', 'B.raw', 'a01.raw', 'a1.raw'];
    expect(diskFileNames(names)).toEqual(diskFileNames([...names].reverse()));
  });

  it('do not include backing files of others', () => {
    const base = { path: '/r/vm/base.qcow2', backingFiles: [] };
    const top = { path: '/r/vm/top.qcow2', backingFiles: ['/r/vm/base.qcow2'] };
    expect(withoutParents([base, top])).toEqual([top]);
  });
});

describe('the format of an image', () => {
  it("is derived from its name, regardless of the guest's data", () => {
    expect(['a.QCOW2', 'a.raw', 'a.img', 'a.vmdk', 'a'].map(formatOfName)).toEqual(['qcow2', 'raw', 'raw', null, null]);
  });

  it.each(['QFI\xfb\0\0\0\x03', 'KDMV\x01\0\0\0', '# Disk DescriptorFile\n', 'conectix'])(
    'is doubted for an .img that begins with %j, but never for a .raw',
    (head) => {
      expect(doubtOfRaw('a.img', head)).toContain('name it "a.raw"');
      expect(doubtOfRaw('a.raw', head)).toBeNull();
    },
  );

  it('is raw for any other .img', () => {
    expect(doubtOfRaw('a.img', '\0\0\0\0\0\0\0\0')).toBeNull();
    expect(doubtOfRaw('a.img', '')).toBeNull();
  });
});
