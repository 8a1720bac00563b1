import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { PipelineStep } from './pipeline.state.js';
import { outcomesOf, planPipeline, refusedSteps } from './plan-pipeline.plan.js';

const due = '2027-03-28T20:00:00.000Z';
const rules = { every_nth: null, boot_every_days: null, console_text: 'login:', guest_agent: true, timeout_seconds: 300 };
const names = ({ steps }: { readonly steps: readonly { readonly step: string }[] }): readonly string[] => steps.map(({ step }) => step);

describe('what is due for a restore point', () => {
  it('is a verification of the first one and of each Nth after it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 60 }), (every_nth, points) => {
        const verified: number[] = [];
        let previous: { unverified: number; booted_due_at: null } | null = null;
        for (let point = 0; point < points; point++) {
          const plan = planPipeline({ ...rules, every_nth }, previous, due);
          if (plan.steps.length > 0) verified.push(point);
          previous = { unverified: plan.steps.length > 0 ? 0 : plan.unverified, booted_due_at: null };
        }
        expect(verified).toEqual(Array.from({ length: Math.ceil(points / every_nth) }, (_, index) => index * every_nth));
      }),
    );
  });

  it('is a verification of the next one if the last could not be verified', () => {
    expect(names(planPipeline({ ...rules, every_nth: 7 }, { unverified: 6, booted_due_at: null }, due))).toEqual(['verify']);
    expect(names(planPipeline({ ...rules, every_nth: 7 }, { unverified: 5, booted_due_at: null }, due))).toEqual([]);
    const { unverified } = planPipeline({ ...rules, every_nth: 7 }, null, due);
    expect(names(planPipeline({ ...rules, every_nth: 7 }, { unverified, booted_due_at: null }, due))).toEqual(['verify']);
  });

  it('is a boot check of the first one, and so many days after the last, also across a day of 23 hours', () => {
    const weekly = { ...rules, boot_every_days: 7 };
    const [boot] = planPipeline(weekly, null, due).steps;
    expect(boot).toEqual({ step: 'boot_check', console_text: 'login:', guest_agent: true, timeout_seconds: 300 });
    expect(names(planPipeline(weekly, { unverified: 0, booted_due_at: '2027-03-21T21:00:00.000Z' }, due))).toEqual(['boot_check']);
    expect(names(planPipeline(weekly, { unverified: 0, booted_due_at: '2027-03-22T21:00:00.000Z' }, due))).toEqual([]);
    expect(names(planPipeline({ ...weekly, every_nth: 1 }, null, due))).toEqual(['verify', 'boot_check']);
  });
});

describe('a verification that could not be requested', () => {
  it('ends the boot check alone if only that is impossible, and everything otherwise', () => {
    expect(refusedSteps(['verify', 'boot_check'], 'definition_missing')).toEqual(['boot_check']);
    expect(refusedSteps(['verify', 'boot_check'], 'backup_not_verifiable')).toEqual(['verify', 'boot_check']);
    expect(refusedSteps(['verify'], 'node_not_found')).toEqual(['verify']);
  });
});

describe('a verification that has ended', () => {
  const step = (name: 'verify' | 'boot_check'): PipelineStep => {
    const at = { stage: 'started' as const, verification_id: 'x1' };
    return name === 'verify' ? { step: name, ...at } : { step: name, console_text: null, guest_agent: true, timeout_seconds: 300, ...at };
  };
  const both = [step('verify'), step('boot_check')];
  const none = { findings: [], error: null, boot: null };
  const outcomes = (verification: Parameters<typeof outcomesOf>[1]) => outcomesOf(both, verification)?.map(({ outcome, code }) => `${outcome} ${code ?? '-'}`);

  it('ends each of its steps', () => {
    expect(outcomes({ status: 'running', ...none })).toBeUndefined();
    expect(outcomes({ status: 'passed', ...none })).toEqual(['passed -', 'passed -']);
    expect(outcomes({ status: 'failed', ...none, boot: { detail: 'no sign of life' } })).toEqual(['passed -', 'failed guest_not_booted']);
    const finding = { code: 'hash_differs', detail: 'd' };
    expect(outcomes({ status: 'failed', ...none, findings: [finding] })).toEqual(['failed hash_differs', 'aborted hash_differs']);
    const error = { code: 'repository_unavailable', detail: 'd' };
    expect(outcomes({ status: 'aborted', ...none, error })).toEqual(['aborted repository_unavailable', 'aborted repository_unavailable']);
  });

  it('has verified the files if it was aborted after the boot began', () => {
    const aborted = { status: 'aborted', ...none, error: { code: 'check_interrupted', detail: 'd' }, boot: { detail: null } } as const;
    expect(outcomes(aborted)).toEqual(['passed -', 'aborted check_interrupted']);
  });
});
