import { messageOf } from '../../../kernel/error-message.js';

/** The outcome of a check, with a remedy when action is needed. */
export type Verdict =
  | { readonly status: 'pass'; readonly detail: string }
  | { readonly status: 'warn' | 'fail'; readonly detail: string; readonly remedy: string }
  | { readonly status: 'skip'; readonly detail: string };

export type Role = 'hub' | 'node';

/** One aspect of an installation that can be right or wrong. */
export interface Check {
  /** Stable; for programs. */
  readonly id: string;
  readonly role: Role;
  /** For humans. */
  readonly title: string;
  /** An error it throws counts as a failure. */
  run(): Promise<Verdict>;
}

export interface CheckResult {
  readonly id: string;
  readonly role: Role;
  readonly title: string;
  readonly status: Verdict['status'];
  readonly detail: string;
  readonly remedy: string | null;
}

export function pass(detail: string): Verdict {
  return { status: 'pass', detail };
}

export function warn(detail: string, remedy: string): Verdict {
  return { status: 'warn', detail, remedy };
}

export function fail(detail: string, remedy: string): Verdict {
  return { status: 'fail', detail, remedy };
}

/** @param reason why it does not apply or cannot be checked */
export function skip(reason: string): Verdict {
  return { status: 'skip', detail: reason };
}

/** Combines findings: the worst status, with all findings of that status; with none, a pass. */
export function worst(findings: readonly Verdict[], allIsWell: string): Verdict {
  for (const status of ['fail', 'warn'] as const) {
    const found = findings.filter((finding) => finding.status === status);
    if (found.length === 0) continue;
    const remedies = new Set(found.map((finding) => ('remedy' in finding ? finding.remedy : '')));
    return { status, detail: found.map(({ detail }) => detail).join('; '), remedy: [...remedies].join(' ') };
  }
  return pass(allIsWell);
}

export async function runCheck(check: Check): Promise<CheckResult> {
  const { id, role, title } = check;
  let verdict: Verdict;
  try {
    verdict = await check.run();
  } catch (error) {
    verdict = fail(messageOf(error), 'The check itself failed; the message is the cause.');
  }
  return { id, role, title, status: verdict.status, detail: verdict.detail, remedy: 'remedy' in verdict ? verdict.remedy : null };
}
