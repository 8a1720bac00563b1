import { describe, expect, it } from '@jest/globals';
import { spawnSlot } from './spawn-throttle.js';

function busy(ms: number): void {
  for (const ends = performance.now() + ms; performance.now() < ends;);
}

describe('starting many processes', () => {
  it('yields the event loop between starts, in request order', async () => {
    const seen: string[] = [];
    const starts = Promise.all(
      [0, 1, 2, 3].map(async (index) => {
        await spawnSlot();
        seen.push(`start ${index}`);
        // Longer than the burst that is allowed without a pause.
        busy(80);
      }),
    );
    let asking = true;
    const others = (async () => {
      while (asking) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        seen.push('other');
      }
    })();
    await starts;
    asking = false;
    await others;
    const order = seen.filter((one, index) => one !== seen[index - 1]);
    expect(order.slice(0, 7)).toEqual(['start 0', 'other', 'start 1', 'other', 'start 2', 'other', 'start 3']);
  });
});
