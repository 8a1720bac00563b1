import { fail, pass, type Verdict, warn } from './check.plan.js';

/** Signed calls carry their time, and events of two machines are read side by side. */
const NOTICEABLE_MS = 5_000;
const TOO_MUCH_MS = 60_000;

/**
 * @param other whose clock; @param otherMs what it showed at some time between sentMs and heardMs of ours; @param resolutionMs how exactly it told. All in milliseconds since 1970.
 */
export function clockVerdict(other: string, otherMs: number, sentMs: number, heardMs: number, resolutionMs: number): Verdict {
  // What is left when all that the way and the reading may account for is taken away.
  const skew = otherMs > heardMs ? otherMs - heardMs : Math.min(0, otherMs + resolutionMs - sentMs);
  const text = `the clock of ${other} is ${Math.abs(skew) < 1000 ? 'less than a second' : `${(Math.abs(skew) / 1000).toFixed(1)} s`} ${skew < 0 ? 'behind' : skew > 0 ? 'ahead' : 'off'}`;
  const remedy = 'Have both machines keep their clocks by NTP (timedatectl set-ntp true).';
  if (Math.abs(skew) > TOO_MUCH_MS) return fail(text, remedy);
  if (Math.abs(skew) > NOTICEABLE_MS) return warn(text, remedy);
  return pass(text);
}
