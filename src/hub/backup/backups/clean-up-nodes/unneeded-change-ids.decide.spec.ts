import { describe, expect, it } from '@jest/globals';
import { type MakerOfChangeId, unneededChangeIds } from './unneeded-change-ids.decide.js';

function judged(maker: MakerOfChangeId | null, inUse = false): boolean {
  return unneededChangeIds(['id'], new Set(inUse ? ['id'] : []), () => maker).length === 1;
}

describe('a change id found at a node', () => {
  it('is unneeded once its backup is settled and no incremental will start from it', () => {
    expect(judged({ status: 'completed', settled: true })).toBe(true);
    expect(judged({ status: 'failed', settled: true })).toBe(true);
    expect(judged({ status: 'deleted', settled: true })).toBe(true);
  });

  it('is kept while a chain needs it, while its backup is not settled, or if its backup is unknown', () => {
    expect(judged({ status: 'completed', settled: true }, true)).toBe(false);
    expect(judged({ status: 'running', settled: false })).toBe(false);
    expect(judged({ status: 'completed', settled: false })).toBe(false);
    expect(judged({ status: 'cancelled', settled: false })).toBe(false);
    expect(judged(null)).toBe(false);
  });
});
