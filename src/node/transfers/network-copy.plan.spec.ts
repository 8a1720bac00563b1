import { describe, expect, it } from '@jest/globals';
import { CONTENT_GRAIN } from '../../contract/content-digest.js';
import { BytesUnderWay, giveUpSilent, piecesOf, positionOf, RateBucket, writesOf } from './network-copy.plan.js';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('pieces', () => {
  it('are as large as allowed, end at cluster boundaries, and cover only the extents', () => {
    const extents = [
      { offset: 192 * KIB, length: 640 * KIB },
      { offset: 2 * MIB, length: 64 * KIB },
    ];
    expect([...piecesOf(extents, 256 * KIB)]).toEqual([
      { offset: 192 * KIB, length: 64 * KIB },
      { offset: 256 * KIB, length: 256 * KIB },
      { offset: 512 * KIB, length: 256 * KIB },
      { offset: 768 * KIB, length: 64 * KIB },
      { offset: 2 * MIB, length: 64 * KIB },
    ]);
    expect([...piecesOf([], 256 * KIB)]).toEqual([]);
  });
});

describe('writes of a piece', () => {
  const offset = 7 * CONTENT_GRAIN + 512;
  const bytes = Buffer.alloc(4 * CONTENT_GRAIN);
  // Of the clusters in the piece, the second and the last contain data.
  bytes[CONTENT_GRAIN] = 1;
  bytes[bytes.length - 1] = 1;
  const shape = (zeroes: 'skip' | 'write'): unknown => writesOf(offset, bytes, zeroes).map((write) => [write.offset - offset, write.bytes.length, write.zero]);

  it('to a new file skip zeroes', () => {
    expect(shape('skip')).toEqual([
      [CONTENT_GRAIN - 512, CONTENT_GRAIN, false],
      [4 * CONTENT_GRAIN - 512, 512, false],
    ]);
    expect(writesOf(0, Buffer.alloc(3 * CONTENT_GRAIN + 1), 'skip')).toEqual([]);
  });

  it('onto a parent include zeroes', () => {
    expect(shape('write')).toEqual([
      [0, CONTENT_GRAIN - 512, true],
      [CONTENT_GRAIN - 512, CONTENT_GRAIN, false],
      [2 * CONTENT_GRAIN - 512, 2 * CONTENT_GRAIN, true],
      [4 * CONTENT_GRAIN - 512, 512, false],
    ]);
  });

  it('of a piece full of data are a single one that shares its memory', () => {
    const full = Buffer.alloc(3 * CONTENT_GRAIN, 1);
    const [write, ...more] = writesOf(0, full, 'write');
    expect(more).toEqual([]);
    expect(write?.bytes.buffer).toBe(full.buffer);
    expect(write).toMatchObject({ offset: 0, zero: false });
    expect(write?.bytes.length).toBe(full.length);
  });
});

it('the position is that of a copy from beginning to end', () => {
  const extents = [
    { offset: 100, length: 10 },
    { offset: 200, length: 10 },
  ];
  expect([0, 5, 10, 15, 20].map((bytes) => positionOf(extents, bytes))).toEqual([100, 105, 200, 205, 210]);
  expect(positionOf([], 0)).toBe(0);
});

describe('bytes under way', () => {
  it('grow while answers are quick, shrink while they are slow, and stay within bounds', () => {
    const bytes = new BytesUnderWay(32 * MIB);
    expect(bytes.allowed).toBe(4 * MIB);
    bytes.onAnswer(MIB, 10);
    expect(bytes.allowed).toBe(5 * MIB);
    bytes.onAnswer(MIB, 2_000);
    expect(bytes.allowed).toBe(5 * MIB);
    for (let answers = 0; answers < 100; answers++) bytes.onAnswer(MIB, 10);
    expect(bytes.allowed).toBe(32 * MIB);
    for (let answers = 0; answers < 100; answers++) bytes.onAnswer(MIB, 5_000);
    expect(bytes.allowed).toBe(MIB);
  });
});

describe('a rate', () => {
  it('is kept over time, for any size of writes', () => {
    const bucket = new RateBucket();
    let nowMs = 0;
    let sent = 0;
    while (nowMs < 10_000) {
      const waitMs = bucket.waitMs(nowMs, 1000);
      if (waitMs > 0) nowMs += waitMs;
      else {
        bucket.spend(700);
        sent += 700;
      }
    }
    expect(sent).toBeGreaterThanOrEqual(10_000);
    expect(sent).toBeLessThanOrEqual(10_000 + 2 * 700);
  });

  it('ends a long wait soon when raised, and keeps unused credit only briefly', () => {
    const bucket = new RateBucket();
    expect(bucket.waitMs(0, 1000)).toBe(0);
    bucket.spend(1_000_000);
    expect(bucket.waitMs(0, 1000)).toBe(250);
    expect(bucket.waitMs(250, 100_000_000)).toBe(0);
    expect(bucket.waitMs(3_600_000, 1000)).toBe(0);
    bucket.spend(200);
    expect(bucket.waitMs(3_600_000, 1000)).toBe(100);
  });
});

it.each([
  ['the network is down', false, false, false, true],
  ['it is half-open', true, true, true, true],
  ['the cause is unknown', true, false, false, true],
  ['the disk is slow', true, false, true, false],
])('a silent connection where %s', (_what, serverAnswers, overtaken, triedAnother, givenUp) => {
  expect(giveUpSilent({ serverAnswers, overtaken, triedAnother })).toBe(givenUp);
});
