import { type Blackout, type PolicySettings, WEEKDAYS } from './policy.events.js';
import { coveredUntil, type SharedBlackout } from './shared-blackout.plan.js';
import { wallNear } from './time-zone.plan.js';

const DAY_MS = 86_400_000;

export type StartRules = Pick<PolicySettings, 'time_zone' | 'start_window' | 'blackouts'> & {
  /** Those that the policy refers to, as they are now; omitted in events of early hubs. */
  readonly shared_blackouts?: readonly SharedBlackout[];
};
/** A policy's settings with the blackouts that it refers to. */
export type RunSettings = PolicySettings & StartRules;

/** Blackouts that follow each other so often have no end, or as good as none. */
const MOST_DEFERRALS = 200;

export type Admission = { readonly start: string } | { readonly refused: 'blackout' | 'window_closed' };

/** When a run that is due at an instant may start. */
export function admit(at: string, rules: StartRules): Admission {
  let start = at;
  let deferrals = 0;
  for (let blackout = covering(start, rules); blackout !== undefined; blackout = covering(start, rules)) {
    if (blackout.effect === 'skip' || deferrals++ === MOST_DEFERRALS) return { refused: 'blackout' };
    start = blackout.until;
  }
  return isOpen(start, rules) ? { start } : { refused: 'window_closed' };
}

/** Whether a backup may start at this very instant. */
export function mayStart(at: string, rules: StartRules): boolean {
  const admission = admit(at, rules);
  return 'start' in admission && admission.start === at;
}

/** What forbids backups at this instant; null: nothing. */
export function closedBy(at: string, rules: StartRules): 'blackout' | 'window_closed' | null {
  if (covering(at, rules) !== undefined) return 'blackout';
  return isOpen(at, rules) ? null : 'window_closed';
}

/** By how many seconds the start of a VM is delayed: always the same for the same policy and VM. */
export function jitterSeconds(policyId: string, vmId: string, spreadSeconds: number): number {
  return spreadSeconds === 0 ? 0 : hashOf(`${policyId}/${vmId}`) % spreadSeconds;
}

function covering(at: string, { blackouts, shared_blackouts = [] }: StartRules): Pick<Blackout, 'until' | 'effect'> | undefined {
  const own = blackouts.find(({ from, until }) => from <= at && at < until);
  if (own !== undefined) return own;
  for (const shared of shared_blackouts) {
    const covered = coveredUntil(shared, at);
    if (covered !== null) return covered;
  }
  return undefined;
}

function isOpen(at: string, { time_zone, start_window }: StartRules): boolean {
  if (start_window === null) return true;
  const { from, until, days } = start_window;
  const wall = wallNear(Date.parse(at), time_zone);
  const time = new Date(wall).toISOString().slice(11, 16);
  const isOn = (day: number): boolean => days.length === 0 || days.includes(WEEKDAYS[new Date(day).getUTCDay()] ?? 'sun');
  if (from < until) return from <= time && time < until && isOn(wall);
  return (time >= from && isOn(wall)) || (time < until && isOn(wall - DAY_MS));
}

/** FNV-1a with 32 bits, and a final mix, because the remainder depends on the lowest bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
