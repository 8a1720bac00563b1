import type { OptOut, PolicySettings, SelectionRule } from './policy.events.js';

export interface SelectableVm {
  readonly vm_id: string;
  readonly name: string;
  readonly node_id: string;
  readonly source: string;
  readonly labels: readonly string[];
}

/** A VM and why it is selected or left out. */
export type Choice = { readonly vm_id: string; readonly vm_name: string; readonly because: string };

export interface Selection {
  readonly vms: readonly Choice[];
  /** VMs that a rule includes and that are left out nevertheless. */
  readonly left_out: readonly Choice[];
}

type SelectionSettings = Pick<PolicySettings, 'include' | 'exclude' | 'opt_outs'>;

/** A policy that may claim the same VMs. */
export type OtherPolicy = SelectionSettings & Pick<PolicySettings, 'name' | 'repository_id'>;

/**
 * The VMs of a policy at an instant.
 * @param earlier policies whose claim on a VM for the same repository comes first
 */
export function select(
  settings: SelectionSettings & Pick<PolicySettings, 'repository_id'>,
  vms: readonly SelectableVm[],
  now: string,
  earlier: readonly OtherPolicy[] = [],
): Selection {
  const selected: Choice[] = [];
  const leftOut: Choice[] = [];
  const rivals = earlier.filter(({ repository_id }) => repository_id === settings.repository_id);
  for (const vm of vms) {
    const included = settings.include.find((rule) => fits(rule, vm));
    if (included === undefined) continue;
    const choice = { vm_id: vm.vm_id, vm_name: vm.name };
    const reason = reasonAgainst(vm, settings, now) ?? claimOn(vm, rivals, now);
    if (reason === null) selected.push({ ...choice, because: `${included.by} ${included.value}` });
    else leftOut.push({ ...choice, because: reason });
  }
  return { vms: selected, left_out: leftOut };
}

/** The first VM of the selection that another policy backs up into the same repository; null: none. */
export function conflictWith(
  settings: SelectionSettings & Pick<PolicySettings, 'repository_id'>,
  vms: readonly SelectableVm[],
  now: string,
  others: readonly OtherPolicy[],
): { readonly vm_name: string; readonly policy_name: string } | null {
  const own = new Set(select(settings, vms, now).vms.map(({ vm_id }) => vm_id));
  const contested = vms.filter(({ vm_id }) => own.has(vm_id));
  for (const other of others) {
    if (other.repository_id !== settings.repository_id) continue;
    const [first] = select(other, contested, now).vms;
    if (first !== undefined) return { vm_name: first.vm_name, policy_name: other.name };
  }
  return null;
}

/** Whether a name fits a pattern: `*` stands for any characters, `?` for one. */
export function fitsPattern(pattern: string, name: string): boolean {
  const [wanted, given] = [Array.from(pattern), Array.from(name)];
  let [at, place] = [0, 0];
  // Where the last `*` was, and up to where it has been stretched: an earlier one need never be stretched further.
  let [star, stretched] = [-1, 0];
  while (place < given.length) {
    if (wanted[at] === '*') {
      star = at++;
      stretched = place;
    } else if (wanted[at] === '?' || (at < wanted.length && wanted[at] === given[place])) {
      at++;
      place++;
    } else if (star >= 0) {
      at = star + 1;
      place = ++stretched;
    } else return false;
  }
  return wanted.slice(at).every((character) => character === '*');
}

function fits({ by, value }: SelectionRule, vm: SelectableVm): boolean {
  switch (by) {
    case 'name':
      return fitsPattern(value, vm.name);
    case 'label':
      return vm.labels.includes(value);
    case 'vm_id':
    case 'node_id':
    case 'source':
      return vm[by] === value;
  }
}

function reasonAgainst(vm: SelectableVm, { exclude, opt_outs }: SelectionSettings, now: string): string | null {
  const excluded = exclude.find((rule) => fits(rule, vm));
  if (excluded !== undefined) return `excluded by ${excluded.by} ${excluded.value}`;
  const optOut = opt_outs.find((one) => one.vm_id === vm.vm_id && isInForce(one, now));
  if (optOut === undefined) return null;
  return `opted out${optOut.until === null ? '' : ` until ${optOut.until}`}: ${optOut.reason}`;
}

function isInForce({ until }: OptOut, now: string): boolean {
  return until === null || now < until;
}

function claimOn(vm: SelectableVm, rivals: readonly OtherPolicy[], now: string): string | null {
  const holder = rivals.find((rival) => select(rival, [vm], now).vms.length > 0);
  return holder === undefined ? null : `policy "${holder.name}" backs it up into the same repository`;
}
