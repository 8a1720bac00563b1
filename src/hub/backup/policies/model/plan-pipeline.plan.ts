import type { PipelinePlanned, PipelineStepEnded, PipelineStepName, PipelineStepPlan } from './pipeline.events.js';
import type { PipelineStep } from './pipeline.state.js';
import type { VerificationRules } from './policy.events.js';

const DAY_MS = 86_400_000;
/** Days of 23 hours, and runs that are due a little earlier than those before. */
const TOLERANCE_MS = 2 * 3_600_000;

/** The newest pipeline of the same policy and VM; null: there is none. */
export type PreviousPipeline = Pick<PipelinePlanned['data'], 'unverified' | 'booted_due_at'> | null;

/**
 * What is due for a restore point. A restore point whose check could not be done leaves it to the next one, so that the first one counts as many as make a
 * verification due.
 */
export function planPipeline(
  { every_nth, boot_every_days, console_text, guest_agent, timeout_seconds }: VerificationRules,
  previous: PreviousPipeline,
  due_at: string,
): Pick<PipelinePlanned['data'], 'steps' | 'unverified' | 'booted_due_at'> {
  const unverified = previous === null ? (every_nth ?? 1) : previous.unverified + 1;
  const booted_due_at = previous?.booted_due_at ?? null;
  const isVerified = every_nth !== null && unverified >= every_nth;
  const sinceBoot = booted_due_at === null ? Infinity : Date.parse(due_at) - Date.parse(booted_due_at);
  const isBooted = boot_every_days !== null && sinceBoot >= boot_every_days * DAY_MS - TOLERANCE_MS;
  const steps: PipelineStepPlan[] = [];
  if (isVerified) steps.push({ step: 'verify' });
  if (isBooted) steps.push({ step: 'boot_check', console_text, guest_agent, timeout_seconds });
  return { steps, unverified, booted_due_at };
}

/** Refusals that concern the boot check alone: the files can be verified nevertheless. */
const OF_BOOT: ReadonlySet<string> = new Set(['definition_missing', 'node_not_found', 'sign_of_life_missing']);

/** The steps that end because a verification could not be requested. */
export function refusedSteps(pending: readonly PipelineStepName[], code: string): readonly PipelineStepName[] {
  return OF_BOOT.has(code) && pending.includes('boot_check') ? ['boot_check'] : pending;
}

/** What a verification has found. */
export interface EndedVerification {
  readonly status: 'running' | 'passed' | 'failed' | 'aborted';
  readonly findings: readonly { readonly code: string; readonly detail: string }[];
  readonly error: { readonly code: string; readonly detail: string } | null;
  /** null: no boot was requested, or it has not begun. It begins when all files were found sound. */
  readonly boot: { readonly detail: string | null } | null;
}

type Outcome = Pick<PipelineStepEnded['data'], 'outcome' | 'code' | 'detail'>;

/** How the steps end that a verification does; null: it has not ended. */
export function outcomesOf(steps: readonly PipelineStep[], verification: EndedVerification): readonly (Outcome & { readonly step: PipelineStepName })[] | null {
  const { status, findings, error, boot } = verification;
  if (status === 'running') return null;
  return steps.map(({ step }) => {
    if (status === 'passed') return { step, outcome: 'passed', code: null, detail: null };
    if (status === 'aborted' && step === 'verify' && boot !== null) return { step, outcome: 'passed', code: null, detail: null };
    if (status === 'aborted') return { step, outcome: 'aborted', code: error?.code ?? 'verification_aborted', detail: error?.detail ?? null };
    const [first] = findings;
    if (first === undefined) {
      return step === 'verify'
        ? { step, outcome: 'passed', code: null, detail: null }
        : { step, outcome: 'failed', code: 'guest_not_booted', detail: boot?.detail ?? null };
    }
    // Damaged files are not booted.
    return { step, outcome: step === 'verify' ? 'failed' : 'aborted', code: first.code, detail: first.detail };
  });
}
