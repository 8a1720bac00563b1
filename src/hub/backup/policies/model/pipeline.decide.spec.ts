import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { decidePipeline, type PipelineCommand } from './pipeline.decide.js';
import type { PipelineEvent, PipelineStepName } from './pipeline.events.js';
import { evolvePipeline, initialPipelineState } from './pipeline.state.js';

const { given } = specificationOf({ initialState: initialPipelineState, evolve: evolvePipeline, decide: decidePipeline });
const at = '2027-01-05T22:00:00.000Z';
const data = {
  backup_id: 'b1',
  vm_id: 'v1',
  policy_id: 'p1',
  policy_version: 1,
  occurrence_id: 'o1',
  due_at: at,
  steps: [{ step: 'verify' as const }, { step: 'boot_check' as const, console_text: 'login:', guest_agent: true, timeout_seconds: 300 }],
  unverified: 1,
  booted_due_at: null,
  planned_at: at,
};
const planned: PipelineEvent = { type: 'PipelinePlanned', data };
const both = { steps: ['verify', 'boot_check'] as const, verification_id: 'x1', started_at: at };
const begun: PipelineEvent = { type: 'PipelineStepsStarted', data: both };
const endOf = (step: PipelineStepName) => ({ step, outcome: 'passed' as const, code: null, detail: null, ended_at: at });
const ended = (step: PipelineStepName): PipelineEvent => ({ type: 'PipelineStepEnded', data: endOf(step) });
const start: PipelineCommand = { kind: 'started', data: both };

describe('a pipeline', () => {
  it('is planned once', () => {
    given().when({ kind: 'plan', data }).then(planned);
    given(planned).when({ kind: 'plan', data }).then();
  });

  it('begins each of its steps once', () => {
    given(planned).when(start).then(begun);
    given(planned, begun).when(start).then();
    given(planned, ended('boot_check')).when(start).then();
    given().when(start).then();
  });

  it('ends each of its steps once, also one that could not begin', () => {
    given(planned, begun)
      .when({ kind: 'ended', data: endOf('verify') })
      .then(ended('verify'));
    given(planned)
      .when({ kind: 'ended', data: endOf('boot_check') })
      .then(ended('boot_check'));
    given(planned, begun, ended('verify'))
      .when({ kind: 'ended', data: endOf('verify') })
      .then();
    given()
      .when({ kind: 'ended', data: endOf('verify') })
      .then();
  });
});
