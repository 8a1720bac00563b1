import { unknownVariant } from '../../src/kernel/decider.js';
import type { PipelineEvent } from '../../src/hub/backup/policies/model/pipeline.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { PipelineReadModel, type PipelineRow } from './pipelines.read-model.js';

export const pipelinesProjection: Projection<PipelineRow> = {
  ...PipelineReadModel.definition,
  categories: ['pipeline'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<PipelineEvent>(recorded);
    switch (event.type) {
      case 'PipelinePlanned': {
        const { backup_id, vm_id, policy_id, policy_version, occurrence_id, due_at, steps, unverified, booted_due_at, planned_at } = event.data;
        const has = (name: string): boolean => steps.some(({ step }) => step === name);
        return {
          backup_id,
          vm_id,
          policy_id,
          policy_version,
          occurrence_id,
          due_at,
          steps: steps.map(({ step }) => ({ step, status: 'pending', verification_id: null, code: null, detail: null })),
          unverified: has('verify') ? 0 : unverified,
          unverified_otherwise: unverified,
          booted_due_at: has('boot_check') ? due_at : booted_due_at,
          booted_due_at_otherwise: booted_due_at,
          planned_at,
          finished_at: steps.length === 0 ? planned_at : null,
          created_position: recorded.position,
        };
      }
      case 'PipelineStepsStarted': {
        const before = known(row, recorded.stream);
        const { steps, verification_id } = event.data;
        const begun = new Set(steps);
        return { ...before, steps: before.steps.map((step) => (begun.has(step.step) ? { ...step, status: 'running', verification_id } : step)) };
      }
      case 'PipelineStepEnded': {
        const before = known(row, recorded.stream);
        const { step: name, outcome, code, detail, ended_at } = event.data;
        const steps = before.steps.map((step) => (step.step === name ? { ...step, status: outcome, code, detail } : step));
        const isOver = steps.every(({ status }) => status !== 'pending' && status !== 'running');
        const next = { ...before, steps, finished_at: isOver ? ended_at : null };
        if (outcome === 'passed' || outcome === 'failed') return next;
        return name === 'verify' ? { ...next, unverified: before.unverified_otherwise } : { ...next, booted_due_at: before.booted_due_at_otherwise };
      }
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function known(row: PipelineRow | undefined, stream: string): PipelineRow {
  if (row === undefined) throw new Error(`pipeline stream ${stream} does not begin with its plan`);
  return row;
}
