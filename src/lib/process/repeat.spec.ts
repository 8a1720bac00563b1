import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { repeat } from './repeat.js';

it('applies a shortened interval without waiting for the end of the longer one, until it is stopped', async () => {
  let intervalMs = 3_600_000;
  let times = 0;
  const repetition = repeat(
    () => intervalMs,
    () => {
      times += 1;
    },
  );
  await pause(20);
  expect(times).toBe(0);
  intervalMs = 1;
  for (const ends = performance.now() + 60_000; times < 3 && performance.now() < ends;) await pause(10);
  expect(times).toBeGreaterThanOrEqual(3);
  repetition.stop();
  const stopped = times;
  await pause(20);
  expect(times).toBe(stopped);
});
