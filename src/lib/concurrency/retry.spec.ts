import { describe, expect, it } from '@jest/globals';
import { retry } from './retry.js';

describe('retry', () => {
  it('repeats work until it succeeds, with longer and longer pauses', async () => {
    const at: number[] = [];
    const failures: unknown[] = [];
    const work = (): Promise<string> => {
      at.push(performance.now());
      return at.length < 4 ? Promise.reject(new Error(`failure ${at.length}`)) : Promise.resolve('done');
    };
    await expect(retry(work, { firstMs: 20, longestMs: 40, onFailure: (error) => failures.push(error) })).resolves.toBe('done');
    expect(failures.map(String)).toEqual(['Error: failure 1', 'Error: failure 2', 'Error: failure 3']);
    const [first = 0, second = 0, third = 0, fourth = 0] = at;
    expect(second - first).toBeGreaterThan(14);
    expect(third - second).toBeGreaterThan(30);
    expect(fourth - third).toBeGreaterThan(30);
  });

  it('gives up with the error of onFailure', async () => {
    const tooLate = (): never => {
      throw new Error('too late');
    };
    await expect(retry(() => Promise.reject(new Error('again')), { firstMs: 1, onFailure: tooLate })).rejects.toThrow('too late');
  });

  it('ends at once when the signal is aborted, in a pause and before the first attempt', async () => {
    const ending = new AbortController();
    const waiting = retry(() => Promise.reject(new Error('again')), { firstMs: 60_000, signal: ending.signal });
    setTimeout(() => ending.abort(new Error('the hub is shutting down')), 10);
    await expect(waiting).rejects.toThrow('the hub is shutting down');
    let ran = false;
    const work = (): Promise<void> => {
      ran = true;
      return Promise.resolve();
    };
    await expect(retry(work, { firstMs: 1, signal: ending.signal })).rejects.toThrow('the hub is shutting down');
    expect(ran).toBe(false);
  });
});
