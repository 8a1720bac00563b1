/**
 * Loaded into a hub of the demo and its node before their own code (`node --import`), which have no such setting themselves. The file that DEMO_CLOCK_FILE names
 * says by how many milliseconds their clock is ahead of the machine's:
 * - `new Date()`, which is what src/lib/clock is based on. Not `Date.now()`, which is compared with the times of files.
 * - timers of a minute and more, which wait for an hour of the day. Not shorter ones, which wait for programs and networks.
 * PostgreSQL keeps the clock of the machine: `recorded_at` of an event is when it was really stored.
 */
import { readFileSync } from 'node:fs';

const LONG_MS = 60_000;
const TICK_MS = 50;

function simulate(file: string): void {
  globalThis.Date = new Proxy(Date, {
    construct(date, given: readonly unknown[], target) {
      const instant = given.length === 0 ? [date.now() + Number(readFileSync(file, 'utf8'))] : given;
      return Reflect.construct(date, instant, target) as object;
    },
  });
  globalThis.setTimeout = new Proxy(setTimeout, {
    apply(start, self, given: Parameters<typeof setTimeout>) {
      const [work, ms = 0, ...rest] = given;
      return ms < LONG_MS ? Reflect.apply(start, self, given) : longTimer(() => work(...rest), ms);
    },
  });
}

/** clearTimeout() ends it as it ends others. */
function longTimer(work: () => void, ms: number): NodeJS.Timeout {
  let ends = new Date().getTime() + ms;
  const timer = setInterval(() => {
    if (new Date().getTime() < ends) return;
    clearInterval(timer);
    work();
  }, TICK_MS);
  timer.refresh = () => {
    ends = new Date().getTime() + ms;
    return timer;
  };
  return timer;
}

const file = process.env['DEMO_CLOCK_FILE'];
if (file !== undefined) simulate(file);
