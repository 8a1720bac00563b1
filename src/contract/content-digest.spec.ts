import { describe, expect, it } from '@jest/globals';
import { seeded } from '../../test/support/seeded.js';
import { CONTENT_BLOCK, CONTENT_GRAIN, ContentDigest } from './content-digest.js';

const KEY = '0f'.repeat(32);
const random = seeded(7);

/** data: null for zeroes. */
interface Run {
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer | null;
}

function data(offset: number, length: number): Run {
  return { offset, length, data: Buffer.from(Uint8Array.from({ length }, () => Math.floor(256 * random()))) };
}

const runs: readonly Run[] = [
  data(0, CONTENT_BLOCK),
  data(CONTENT_BLOCK, CONTENT_BLOCK),
  { offset: 2 * CONTENT_BLOCK, length: CONTENT_GRAIN, data: null },
  data(2 * CONTENT_BLOCK + CONTENT_GRAIN, 2 * CONTENT_GRAIN),
  { offset: 3 * CONTENT_BLOCK, length: 2 * CONTENT_GRAIN, data: null },
  data(5 * 2 ** 40, CONTENT_GRAIN),
  data(5 * 2 ** 40 + CONTENT_BLOCK, 512),
];

function digestOf(of: readonly Run[], key = KEY): string {
  const digest = new ContentDigest(key);
  for (const run of of) {
    if (run.data === null) digest.addZeroes(run.offset, run.length);
    else digest.addData(run.offset, [run.data]);
  }
  return digest.result.digest;
}

/** The runs with some of them changed. */
function but(changes: Readonly<Record<number, Partial<Run>>>): readonly Run[] {
  return runs.map((run, index) => ({ ...run, ...changes[index] }));
}

function flipped(bytes: Buffer | null | undefined, bit: number): Buffer {
  const copy = Buffer.from(bytes ?? Buffer.alloc(0));
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

describe('ContentDigest', () => {
  const expected = digestOf(runs);

  it('does not depend on the order of the runs or on how they are split into parts', () => {
    expect(expected).toMatch(/^[0-9a-f]{64}$/);
    for (let round = 0; round < 5; round++) {
      expect(
        digestOf(
          runs
            .map((run) => ({ run, at: random() }))
            .sort((one, other) => one.at - other.at)
            .map(({ run }) => run),
        ),
      ).toBe(expected);
    }
    const inParts = new ContentDigest(KEY);
    for (const { offset, length, data: bytes } of runs) {
      if (bytes === null) inParts.addZeroes(offset, length);
      else inParts.addData(offset, [bytes.subarray(0, 17), bytes.subarray(17, 400), bytes.subarray(400)]);
    }
    expect(inParts.result).toEqual({ key: KEY, digest: expected });
  });

  it('changes with any bit of the data', () => {
    for (const index of [0, 1, 3, 5, 6]) {
      const { length = 0, data: bytes } = runs[index] ?? {};
      for (const bit of [0, Math.floor(8 * length * random()), 8 * length - 1])
        expect(digestOf(but({ [index]: { data: flipped(bytes, bit) } }))).not.toBe(expected);
    }
  });

  it('changes when the same bit flips in two runs, and when two runs swap places', () => {
    const [first, second] = [runs[0]?.data, runs[1]?.data];
    expect(digestOf(but({ 0: { data: flipped(first, 99) }, 1: { data: flipped(second, 99) } }))).not.toBe(expected);
    expect(digestOf(but({ 0: { data: second ?? null }, 1: { data: first ?? null } }))).not.toBe(expected);
  });

  it('changes when a run is moved, missing, shortened, repeated or added, and when zeroes replace data or a gap', () => {
    expect(digestOf(but({ 0: { offset: 4 * CONTENT_BLOCK } }))).not.toBe(expected);
    expect(digestOf(but({ 4: { offset: 4 * CONTENT_BLOCK } }))).not.toBe(expected);
    for (let index = 0; index < runs.length; index++) {
      expect(digestOf(runs.filter((_, place) => place !== index))).not.toBe(expected);
      expect(digestOf([...runs, ...runs.slice(index, index + 1)])).not.toBe(expected);
    }
    expect(digestOf(but({ 4: { length: CONTENT_GRAIN } }))).not.toBe(expected);
    expect(digestOf([...runs, { offset: 4 * CONTENT_BLOCK, length: CONTENT_GRAIN, data: null }])).not.toBe(expected);
    expect(digestOf(but({ 0: { data: null } }))).not.toBe(expected);
    expect(digestOf(but({ 2: { data: Buffer.alloc(CONTENT_GRAIN) } }))).not.toBe(expected);
    expect(digestOf([])).not.toBe(expected);
  });

  it('changes with the key, and uses a new key for each copy', () => {
    for (const key of [`${'0f'.repeat(31)}0e`, `0e${'0f'.repeat(31)}`]) expect(digestOf(runs, key)).not.toBe(expected);
    expect(new ContentDigest().result.key).not.toBe(new ContentDigest().result.key);
    expect(new ContentDigest().result).toEqual({ key: expect.stringMatching(/^[0-9a-f]{64}$/), digest: '0'.repeat(64) });
  });
});
