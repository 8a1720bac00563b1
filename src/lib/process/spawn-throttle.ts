import { setImmediate as turnOfTheLoop, setTimeout as pause } from 'node:timers/promises';

/** After a start, other work gets the event loop for as long as the start took, at most this many milliseconds. */
const LONGEST_BREATH_MS = 20;
/** Milliseconds of starts that may run without a pause after an equally long rest: the few tools of one backup delay nobody. */
const WITHOUT_PAUSE_MS = 60;

let last: Promise<void> = Promise.resolve();
/** Time taken by starts, less the time that has passed since. */
let takenMs = 0;
let takenAt = performance.now();

/**
 * Spawn throttle: await it before starting a process. Starting one blocks the whole program while the kernel copies its page tables, some four milliseconds in
 * a busy hub, and until the new process gets a processor and execs the tool, which takes longer on a busy machine. A backup of a hundred disks starts hundreds
 * of processes: without pauses in between, nothing else would be answered.
 * @returns immediately when nothing else is starting a process
 */
export function spawnSlot(): Promise<void> {
  const mine = last;
  last = mine.then(breath);
  return mine;
}

/** Starts when the caller gets its turn, so it measures the start itself. */
async function breath(): Promise<void> {
  const begun = performance.now();
  await turnOfTheLoop();
  const ended = performance.now();
  takenMs = Math.max(0, takenMs - (begun - takenAt)) + ended - begun;
  takenAt = ended;
  if (takenMs > WITHOUT_PAUSE_MS) await pause(Math.min(ended - begun, LONGEST_BREATH_MS));
}
