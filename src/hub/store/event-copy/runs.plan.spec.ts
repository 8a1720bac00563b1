import { describe, expect, it } from '@jest/globals';
import { runsOf } from './runs.plan.js';

const event = (stream: string, revision: number, text = '') => ({ stream, revision, data: { text }, metadata: {} });
const shapes = (...events: readonly ReturnType<typeof event>[]) =>
  [...runsOf(events)].map(({ stream, expected, events: run }) => [stream, expected, run.map(({ revision }) => revision)]);

describe('the appends of a copy', () => {
  it('join consecutive events of one stream, and never change the order', () => {
    expect(shapes(event('a-1', 0), event('a-1', 1), event('b-1', 4), event('a-1', 2))).toEqual([
      ['a-1', 'no_stream', [0, 1]],
      ['b-1', 3, [4]],
      ['a-1', 1, [2]],
    ]);
    expect(shapes()).toEqual([]);
  });

  it('are small enough for a store, except for a single event that is larger', () => {
    const half = 'x'.repeat(100 * 1024);
    expect(shapes(event('a-1', 0, half), event('a-1', 1, half), event('a-1', 2, half.repeat(8)), event('a-1', 3))).toEqual([
      ['a-1', 'no_stream', [0]],
      ['a-1', 0, [1]],
      ['a-1', 1, [2]],
      ['a-1', 2, [3]],
    ]);
  });
});
