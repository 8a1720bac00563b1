import type { PolicySettings } from './policy.events.js';
import type { RpoBroken, RpoEnd } from './rpo.events.js';
import type { RpoStep } from './rpo.decide.js';
import { select, type SelectableVm } from './selection.plan.js';

export interface RestorePoint {
  readonly backup_id: string;
  /** The instant of its content, but not later than its completion: a clock that runs ahead does not make it newer. */
  readonly instant: string;
  readonly completed_at: string;
}

export interface ProtectedVm extends SelectableVm {
  readonly registered_at: string;
  /** null: never. */
  readonly labels_set_at: string | null;
  /** Completed, not damaged and not deleted; null: there is none. */
  readonly newest: RestorePoint | null;
}

export interface CoveringPolicy {
  readonly policy_id: string;
  readonly version: number;
  readonly edited_at: string;
  readonly settings: PolicySettings;
}

export type RpoStatus = 'kept' | 'broken' | 'no_rpo' | 'without_policy';

/** What the VM's RPO is, and since when. */
export type RpoPromise = Pick<RpoBroken['data'], 'policy_id' | 'policy_version' | 'rpo_seconds'> & { readonly since: string };

export interface Protection {
  readonly vm: ProtectedVm;
  /** Those that select the VM, also disabled ones, oldest first. */
  readonly policies: readonly CoveringPolicy[];
  /** The shortest RPO of these policies; null: none has one. */
  readonly promise: RpoPromise | null;
  readonly status: RpoStatus;
  /** When the newest restore point becomes too old; null: there is no promise, or no restore point. */
  readonly due_at: string | null;
  /** Of the newest restore point, in whole seconds; 0 if it is ahead of the clock; null: there is none. */
  readonly age_seconds: number | null;
}

/** How every VM is protected at an instant. @param policies oldest first */
export function protectionsOf(vms: readonly ProtectedVm[], policies: readonly CoveringPolicy[], now: string): readonly Protection[] {
  const covering = coverage(vms, policies, now);
  return vms.map((vm) => {
    const own = covering.get(vm.vm_id) ?? [];
    const promise = shortestPromise(vm, own, now);
    const age_seconds = vm.newest === null ? null : Math.max(0, Math.floor((Date.parse(now) - Date.parse(vm.newest.instant)) / 1000));
    const found = { vm, policies: own, promise, age_seconds };
    if (promise === null) return { ...found, status: own.length === 0 ? 'without_policy' : 'no_rpo', due_at: null };
    const due_at = vm.newest === null ? null : after(vm.newest.instant, promise.rpo_seconds);
    return { ...found, status: due_at !== null && now < due_at ? 'kept' : 'broken', due_at };
  });
}

/** The instant from which the states may differ without an event; null: none. */
export function nextChange(protections: readonly Protection[], policies: readonly CoveringPolicy[], now: string): string | null {
  const dues = protections.flatMap(({ status, due_at }) => (status === 'kept' && due_at !== null ? [due_at] : []));
  const ends = policies.flatMap(({ settings }) => settings.opt_outs.flatMap(({ until }) => (until !== null && until > now ? [until] : [])));
  return [...dues, ...ends].reduce<string | null>((next, at) => (next === null || at < next ? at : next), null);
}

/** What to record about a VM; null: nothing. @param breach the one that is recorded as under way */
export function rpoStep(protection: Protection, breach: RecordedBreach | null, now: string): RpoStep | null {
  const { vm, promise, status, due_at } = protection;
  const { vm_id, name: vm_name, newest } = vm;
  const point = { backup_id: newest?.backup_id ?? null, instant: newest?.instant ?? null };
  if (breach === null) {
    if (status !== 'broken' || promise === null) return null;
    const { since, ...promised } = promise;
    const broken_at = due_at === null || due_at < since ? since : due_at;
    return { kind: 'break', breach: { vm_id, vm_name, ...promised, ...point, broken_at, recorded_at: now } };
  }
  const ends = (reason: RpoEnd, restored_at: string): RpoStep => ({ kind: 'restore', end: { vm_id, reason, ...point, restored_at, recorded_at: now } });
  if (promise === null) return ends('not_promised', now);
  // A clock that was set back keeps no promise: the restore point has to be newer, or the promise another one.
  if (status === 'broken' || due_at === null || due_at <= breach.broken_at) return null;
  if (newest === null || newest.backup_id === breach.backup_id) return ends('rpo_changed', now);
  return ends('restore_point', newest.completed_at > breach.broken_at && newest.completed_at < now ? newest.completed_at : now);
}

export type RecordedBreach = Pick<RpoBroken['data'], 'vm_id' | 'backup_id' | 'broken_at'>;

/** The end of a breach whose VM was removed. */
export function removedStep(vm_id: string, now: string): RpoStep {
  return { kind: 'restore', end: { vm_id, reason: 'vm_removed', backup_id: null, instant: null, restored_at: now, recorded_at: now } };
}

/** The policies of each VM: of those that select it for the same repository, only the one created first backs it up. */
function coverage(vms: readonly ProtectedVm[], policies: readonly CoveringPolicy[], now: string): ReadonlyMap<string, readonly CoveringPolicy[]> {
  const covering = new Map<string, CoveringPolicy[]>();
  const claims = new Map<string, Set<string>>();
  for (const policy of policies) {
    const { repository_id } = policy.settings;
    const claimed = claims.get(repository_id) ?? new Set();
    claims.set(repository_id, claimed);
    for (const { vm_id } of select(policy.settings, vms, now).vms) {
      if (claimed.has(vm_id)) continue;
      claimed.add(vm_id);
      const own = covering.get(vm_id);
      if (own === undefined) covering.set(vm_id, [policy]);
      else own.push(policy);
    }
  }
  return covering;
}

function shortestPromise(vm: ProtectedVm, policies: readonly CoveringPolicy[], now: string): RpoPromise | null {
  let shortest: RpoPromise | null = null;
  for (const { policy_id, version, edited_at, settings } of policies) {
    const rpo_seconds = settings.rpo_seconds ?? null;
    if (rpo_seconds === null || (shortest !== null && shortest.rpo_seconds <= rpo_seconds)) continue;
    const optOut = settings.opt_outs.find(({ vm_id }) => vm_id === vm.vm_id)?.until ?? null;
    const beginnings = [vm.registered_at, vm.labels_set_at, edited_at, optOut !== null && optOut <= now ? optOut : null];
    shortest = { policy_id, policy_version: version, rpo_seconds, since: beginnings.reduce<string>((last, at) => (at !== null && at > last ? at : last), '') };
  }
  return shortest;
}

function after(instant: string, seconds: number): string {
  return new Date(Date.parse(instant) + seconds * 1000).toISOString();
}
