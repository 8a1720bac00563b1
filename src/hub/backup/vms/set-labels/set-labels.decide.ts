import { DomainError } from '../../../../kernel/domain-error.js';
import type { VmEvent } from '../model/vm.events.js';
import type { VmState } from '../model/vm.state.js';

export type SetLabelsData = { readonly vm_id: string; readonly labels: readonly string[]; readonly set_at: string };

export function decideSetLabels({ vm_id, labels, set_at }: SetLabelsData, state: VmState): readonly VmEvent[] {
  if (state.status !== 'registered') throw new DomainError('not_found', 'vm_not_found', `There is no VM ${vm_id}.`, { vm_id });
  const sorted = [...labels].sort();
  if (sorted.length === state.labels.length && sorted.every((label, index) => label === state.labels[index])) return [];
  return [{ type: 'VmLabelsSet', data: { labels: sorted, set_at } }];
}
