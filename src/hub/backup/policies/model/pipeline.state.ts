import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { PipelineEvent, PipelineStepPlan } from './pipeline.events.js';

export type PipelineStep = PipelineStepPlan & { readonly stage: 'pending' | 'started' | 'ended'; readonly verification_id: string | null };

export type PipelineState = { readonly status: 'none' } | { readonly status: 'planned'; readonly planned_at: string; readonly steps: readonly PipelineStep[] };

export const initialPipelineState: PipelineState = { status: 'none' };

export function evolvePipeline(state: PipelineState, event: PipelineEvent): PipelineState {
  switch (event.type) {
    case 'PipelinePlanned': {
      const { planned_at, steps } = event.data;
      return { status: 'planned', planned_at, steps: steps.map((step) => ({ ...step, stage: 'pending', verification_id: null })) };
    }
    case 'PipelineStepsStarted': {
      const { steps, verification_id } = event.data;
      return withSteps(state, (step) => (steps.includes(step.step) ? { ...step, stage: 'started', verification_id } : step));
    }
    case 'PipelineStepEnded':
      return withSteps(state, (step) => (step.step === event.data.step ? { ...step, stage: 'ended' } : step));
    default:
      return unknownVariant('pipeline stream', event);
  }
}

function withSteps(state: PipelineState, change: (step: PipelineStep) => PipelineStep): PipelineState {
  if (state.status === 'none') throw new Error('pipeline stream does not begin with its plan');
  return { ...state, steps: state.steps.map(change) };
}

export const pipelineDecider = decidersOf<PipelineState, PipelineEvent>(initialPipelineState, evolvePipeline);
