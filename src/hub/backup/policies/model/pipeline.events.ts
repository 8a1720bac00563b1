import type { DomainEvent } from '../../../../kernel/event.js';

/** What follows a completed backup of a policy, in this order. */
export type PipelineStepPlan =
  | { readonly step: 'verify' }
  | { readonly step: 'boot_check'; readonly console_text: string | null; readonly guest_agent: boolean; readonly timeout_seconds: number };
export type PipelineStepName = PipelineStepPlan['step'];

export type PipelinePlanned = DomainEvent<
  'PipelinePlanned',
  {
    readonly backup_id: string;
    readonly vm_id: string;
    readonly policy_id: string;
    /** The version that the run follows. */
    readonly policy_version: number;
    readonly occurrence_id: string;
    readonly due_at: string;
    /** Empty: nothing is due for this restore point. */
    readonly steps: readonly PipelineStepPlan[];
    /** Restore points of the VM since the last verified one, with this one. */
    readonly unverified: number;
    /** When the run of the last booted restore point of the VM was due; null: none was booted. */
    readonly booted_due_at: string | null;
    readonly planned_at: string;
  }
>;
/** One verification does these steps. */
export type PipelineStepsStarted = DomainEvent<
  'PipelineStepsStarted',
  { readonly steps: readonly PipelineStepName[]; readonly verification_id: string; readonly started_at: string }
>;
export type PipelineStepEnded = DomainEvent<
  'PipelineStepEnded',
  {
    readonly step: PipelineStepName;
    /** `aborted`: without a verdict. `refused`: it could not begin. */
    readonly outcome: 'passed' | 'failed' | 'aborted' | 'refused';
    /** null: it passed. */
    readonly code: string | null;
    readonly detail: string | null;
    readonly ended_at: string;
  }
>;

/** Stream `pipeline-<backup_id>`. */
export type PipelineEvent = PipelinePlanned | PipelineStepsStarted | PipelineStepEnded;

export function pipelineStream(backupId: string): string {
  return `pipeline-${backupId}`;
}
