import { describe, expect, it } from '@jest/globals';
import { bytesBefore, extentListText, mergeExtents, parseExtentList, progressFraction, totalBytes, wholeGrains } from './extents.plan.js';

describe('extents', () => {
  it('are sorted and joined where they touch or overlap', () => {
    const given = [
      { offset: 300, length: 50 },
      { offset: 0, length: 100 },
      { offset: 100, length: 100 },
      { offset: 150, length: 10 },
      { offset: 400, length: 0 },
    ];
    expect(mergeExtents(given)).toEqual([
      { offset: 0, length: 200 },
      { offset: 300, length: 50 },
    ]);
    expect(totalBytes(mergeExtents(given))).toBe(250);
  });

  it('are widened to whole grains, but not beyond the disk', () => {
    const given = [
      { offset: 150, length: 10 },
      { offset: 205, length: 90 },
      { offset: 500, length: 100 },
      { offset: 799, length: 2 },
      { offset: 920, length: 13 },
    ];
    expect(wholeGrains(given, 100, 933)).toEqual([
      { offset: 100, length: 200 },
      { offset: 500, length: 100 },
      { offset: 700, length: 233 },
    ]);
  });

  it('before a position count as copied', () => {
    const extents = [
      { offset: 0, length: 100 },
      { offset: 500, length: 100 },
    ];
    expect([0, 50, 300, 550, 1000].map((position) => bytesBefore(extents, position))).toEqual([0, 50, 100, 150, 200]);
  });

  it('are written in decimal and read back, including beyond 4 GiB', () => {
    const extents = [{ offset: 3 * 2 ** 40, length: 65_536 }];
    expect(extentListText(extents)).toBe('3298534883328 65536\n');
    expect(parseExtentList(extentListText(extents))).toEqual(extents);
    expect(parseExtentList('')).toEqual([]);
    expect(() => parseExtentList('0x10 5\n')).toThrow('Not a line');
  });
});

describe('progress of nbdcopy', () => {
  it('is its last complete line', () => {
    expect(progressFraction('18/100\n25/100\n3')).toBe(0.25);
    expect(progressFraction('100/100\n')).toBe(1);
    expect(progressFraction('    (1.00/100%)\r    (12.50/100%)\r    (13.')).toBe(0.125);
    expect(progressFraction('')).toBeNull();
    expect(progressFraction('5/10')).toBeNull();
  });
});
