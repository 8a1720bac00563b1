import type { PipelineEvent, PipelinePlanned, PipelineStepEnded, PipelineStepsStarted } from './pipeline.events.js';
import type { PipelineState } from './pipeline.state.js';

export type PipelineCommand =
  | { readonly kind: 'plan'; readonly data: PipelinePlanned['data'] }
  | { readonly kind: 'started'; readonly data: PipelineStepsStarted['data'] }
  | { readonly kind: 'ended'; readonly data: PipelineStepEnded['data'] };

/** A pipeline is planned once, and each of its steps begins and ends once: whatever would be a second time is not recorded. */
export function decidePipeline(command: PipelineCommand, state: PipelineState): readonly PipelineEvent[] {
  if (command.kind === 'plan') return state.status === 'none' ? [{ type: 'PipelinePlanned', data: command.data }] : [];
  if (state.status === 'none') return [];
  const stageOf = (name: string): string | undefined => state.steps.find(({ step }) => step === name)?.stage;
  if (command.kind === 'started') {
    return command.data.steps.every((name) => stageOf(name) === 'pending') ? [{ type: 'PipelineStepsStarted', data: command.data }] : [];
  }
  const stage = stageOf(command.data.step);
  return stage === 'pending' || stage === 'started' ? [{ type: 'PipelineStepEnded', data: command.data }] : [];
}
