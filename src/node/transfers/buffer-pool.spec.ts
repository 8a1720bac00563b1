import { describe, expect, it } from '@jest/globals';
import { BufferPool } from './buffer-pool.js';

const KIB = 1024;

describe('BufferPool', () => {
  it('reuses returned buffers, and holds no more than its limit', () => {
    const pool = new BufferPool(256 * KIB);
    const first = pool.take(100 * KIB);
    const second = pool.take(64 * KIB + 1);
    expect(first?.length).toBe(128 * KIB);
    expect(second?.length).toBe(128 * KIB);
    expect(pool.take(1)).toBeNull();
    if (first !== null) pool.give(first);
    expect(pool.take(128 * KIB)).toBe(first);
  });

  it('always grants at least one buffer, of any size', () => {
    const pool = new BufferPool(64 * KIB);
    const large = pool.take(512 * KIB);
    expect(large?.length).toBe(512 * KIB);
    expect(pool.take(1)).toBeNull();
    if (large !== null) pool.give(large);
    expect(pool.take(1)?.length).toBe(64 * KIB);
  });

  it('drops buffers of sizes that are no longer requested', () => {
    const pool = new BufferPool(128 * KIB);
    const large = pool.take(128 * KIB);
    if (large !== null) pool.give(large);
    expect(pool.take(64 * KIB)?.length).toBe(64 * KIB);
    expect(pool.take(64 * KIB)?.length).toBe(64 * KIB);
    expect(pool.take(64 * KIB)).toBeNull();
  });
});
