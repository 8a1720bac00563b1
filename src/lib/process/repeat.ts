const LONGEST_WAIT_MS = 1_000;

export interface Repetition {
  stop(): void;
}

/** Repeats work, first after one interval. The interval is read at least once a second, so that a change applies quickly. */
export function repeat(intervalMs: () => number, work: () => void): Repetition {
  let last = performance.now();
  let timer: NodeJS.Timeout;
  const look = (): void => {
    if (performance.now() - last >= intervalMs()) {
      last = performance.now();
      work();
    }
    wait();
  };
  const wait = (): void => {
    timer = setTimeout(look, Math.ceil(Math.min(LONGEST_WAIT_MS, Math.max(1, last + intervalMs() - performance.now()))));
  };
  wait();
  return {
    stop() {
      clearTimeout(timer);
    },
  };
}
