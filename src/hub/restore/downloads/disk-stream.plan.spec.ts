import { describe, expect, it } from '@jest/globals';
import { imageNode } from '../../../lib/qemu/image-chain.plan.js';
import { type DiskSlice, sliceArgv } from './disk-stream.plan.js';

const chain = ['/repo/a/disk-0.qcow2', '/repo/b/disk-0.qcow2'] as const;
const DISK = 1024 * 1024;

/** What the image's node selects of the disk. */
function selected(slice: DiskSlice, diskBytes = DISK): { offset: unknown; size: unknown; skip: number } {
  const { argv, skip } = sliceArgv(chain, slice, diskBytes);
  const { offset, size } = JSON.parse((argv[5] ?? '').replace(/^json:/, '')) as Record<string, unknown>; // what sliceArgv wrote
  return { offset, size, skip };
}

describe('a slice of a disk', () => {
  it('is copied to standard output from a server that nbdcopy starts read-only', () => {
    const node = { driver: 'raw', offset: 0, size: DISK, file: imageNode(chain) };
    expect(sliceArgv(chain, { start: 0, end: DISK - 1 }, DISK)).toEqual({
      argv: ['nbdcopy', '--', '[', 'qemu-nbd', '--read-only', `json:${JSON.stringify(node)}`, ']', '-'],
      skip: 0,
    });
  });

  it.each([
    ['whole sectors, as they are', { start: 512, end: 1535 }, { offset: 512, size: 1024, skip: 0 }],
    ['the first byte', { start: 0, end: 0 }, { offset: 0, size: 512, skip: 0 }],
    ['the last byte of a sector', { start: 511, end: 511 }, { offset: 0, size: 512, skip: 511 }],
    ['two bytes of two sectors', { start: 511, end: 512 }, { offset: 0, size: 1024, skip: 511 }],
    ['one byte within a sector', { start: 1000, end: 1000 }, { offset: 512, size: 512, skip: 488 }],
    ['the last byte of the disk', { start: DISK - 1, end: DISK - 1 }, { offset: DISK - 512, size: 512, skip: 511 }],
  ])('is read in the sectors that it touches: %s', (_what, slice, expected) => {
    expect(selected(slice)).toEqual(expected);
  });

  it('never goes beyond the end of the disk', () => {
    expect(selected({ start: 1000, end: 1099 }, 1100)).toEqual({ offset: 512, size: 588, skip: 488 });
  });
});
