import { describe, expect, it } from '@jest/globals';
import { diskFileNames, imageFormat, withoutParents } from './image-layout.plan.js';

describe('disks of a VM folder', () => {
  it('are its image files in natural order', () => {
    expect(diskFileNames(['disk10.qcow2', 'disk2.QCOW2', 'notes.txt', '.hidden.raw', 'a.img', 'x.vmdk', 'Ü, 1.raw'])).toEqual([
      'a.img',
      'disk2.QCOW2',
      'disk10.qcow2',
      'Ü, 1.raw',
    ]);
  });

  it('are numbered the same in whatever order the folder lists them', () => {
    const names = ['b.raw', 'B.raw', 'a01.raw', 'a1.raw'];
    expect(diskFileNames(names)).toEqual(diskFileNames([...names].reverse()));
  });

  it('leave out what is only the parent of another one', () => {
    const base = { realPath: '/r/vm/base.qcow2', backingFiles: [] };
    const top = { realPath: '/r/vm/top.qcow2', backingFiles: ['/r/vm/base.qcow2'] };
    const broken = { realPath: null, backingFiles: [] };
    expect(withoutParents([base, top, broken])).toEqual([top, broken]);
  });
});

describe('format of an image', () => {
  it('is told by its content, but a file named .raw is raw whatever its guest has written into it', () => {
    expect(imageFormat('a.img', 'QFI\xfb\0\0\0\x03')).toEqual({ format: 'qcow2' });
    expect(imageFormat('a.img', '\0\0\0\0\0\0\0\0')).toEqual({ format: 'raw' });
    expect(imageFormat('a.raw', 'QFI\xfb\0\0\0\x03')).toEqual({ format: 'raw' });
  });

  it('other than qcow2 and raw is a problem, and so is a .qcow2 that is none', () => {
    expect(imageFormat('a.img', 'KDMV\x01\0\0\0')).toEqual({ problem: 'It is a VMDK image; only qcow2 and raw images can be backed up.' });
    expect(imageFormat('a.qcow2', 'nonsense')).toHaveProperty('problem');
  });
});
