import { fail, pass, type Verdict, warn } from './check.plan.js';

/** Signed calls carry a timestamp, and events of two machines are compared by time. */
const NOTICEABLE_MS = 5_000;
const TOO_MUCH_MS = 60_000;

/**
 * @param other whose clock it is @param otherMs its reading, taken between sentMs and heardMs of our clock @param resolutionMs resolution of that reading. All
 * in milliseconds since 1970.
 */
export function clockVerdict(other: string, otherMs: number, sentMs: number, heardMs: number, resolutionMs: number): Verdict {
  // The skew that network latency and resolution cannot explain.
  const skew = otherMs > heardMs ? otherMs - heardMs : Math.min(0, otherMs + resolutionMs - sentMs);
  const text = `the clock of ${other} is ${Math.abs(skew) < 1000 ? 'less than a second' : `${(Math.abs(skew) / 1000).toFixed(1)} s`} ${skew < 0 ? 'behind' : skew > 0 ? 'ahead' : 'off'}`;
  const remedy = 'Have both machines keep their clocks by NTP (timedatectl set-ntp true).';
  if (Math.abs(skew) > TOO_MUCH_MS) return fail(text, remedy);
  if (Math.abs(skew) > NOTICEABLE_MS) return warn(text, remedy);
  return pass(text);
}
