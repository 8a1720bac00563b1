import { setImmediate as turnOfTheLoop, setTimeout as pause } from 'node:timers/promises';

/** After a start others have the event loop for as long as it took, and at most for so long, in milliseconds. */
const LONGEST_BREATH_MS = 20;

let last: Promise<void> = Promise.resolve();

/**
 * To be awaited before a process is started. Starting one stops the whole program for as long as the kernel takes to copy its page tables, several milliseconds in a hub at
 * work, and a backup of a hundred disks starts hundreds: one after the other without a break, nobody else is answered meanwhile.
 * @returns at once when nobody else is starting one
 */
export function spawnTurn(): Promise<void> {
  const mine = last;
  last = mine.then(breath);
  return mine;
}

/** Begins when the turn is given, so what it measures is the start itself. */
async function breath(): Promise<void> {
  const begun = performance.now();
  await turnOfTheLoop();
  await pause(Math.min(performance.now() - begun, LONGEST_BREATH_MS));
}
