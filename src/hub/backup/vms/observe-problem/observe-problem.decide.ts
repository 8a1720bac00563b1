import type { VmEvent } from '../model/vm.events.js';
import type { VmState } from '../model/vm.state.js';

export type ObserveProblemData = { readonly problem: { readonly code: string; readonly detail: string } | null; readonly observed_at: string };

export function decideObserveProblem({ problem, observed_at }: ObserveProblemData, state: VmState): readonly VmEvent[] {
  if (state.status !== 'registered' || state.problem === (problem?.code ?? null)) return [];
  if (problem !== null) return [{ type: 'VmProblemFound', data: { ...problem, found_at: observed_at } }];
  return state.problem === null ? [] : [{ type: 'VmProblemSolved', data: { code: state.problem, solved_at: observed_at } }];
}
