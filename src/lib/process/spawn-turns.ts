import { setImmediate as turnOfTheLoop, setTimeout as pause } from 'node:timers/promises';

/** After a start others have the event loop for as long as it took, and at most for so long, in milliseconds. */
const LONGEST_BREATH_MS = 20;
/** So much time of starts, in milliseconds, is taken without a pause after a rest of at least as long: the few tools of one backup keep nobody waiting. */
const WITHOUT_PAUSE_MS = 60;

let last: Promise<void> = Promise.resolve();
/** Time that starts have taken, less what has passed since. */
let takenMs = 0;
let takenAt = performance.now();

/**
 * To be awaited before a process is started. Starting one stops the whole program for as long as the kernel takes to copy its page tables, some four milliseconds in a hub at work, and the new process
 * to get a processor and become the tool, which is more on a busy machine. A backup of a hundred disks starts hundreds: one after the other without a break, nobody else is answered meanwhile.
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
  const ended = performance.now();
  takenMs = Math.max(0, takenMs - (begun - takenAt)) + ended - begun;
  takenAt = ended;
  if (takenMs > WITHOUT_PAUSE_MS) await pause(Math.min(ended - begun, LONGEST_BREATH_MS));
}
