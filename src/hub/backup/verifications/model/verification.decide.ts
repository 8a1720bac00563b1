import type {
  BootChecked,
  BootCheckStarted,
  HealingFailed,
  HealingPrepared,
  VerificationEvent,
  VerificationFinding,
  VerificationRequested,
} from './verification.events.js';
import type { VerificationState } from './verification.state.js';

export type VerificationStep =
  | { readonly kind: 'request'; readonly data: VerificationRequested['data'] }
  | {
      readonly kind: 'conclude';
      readonly findings: readonly VerificationFinding[];
      readonly files_checked: number;
      readonly bytes_checked: number;
      readonly finished_at: string;
    }
  | { readonly kind: 'healing_prepared'; readonly data: HealingPrepared['data'] }
  | { readonly kind: 'healing_failed'; readonly data: HealingFailed['data'] }
  | ({ readonly kind: 'boot_started' } & BootCheckStarted['data'])
  | { readonly kind: 'boot_checked'; readonly data: BootChecked['data'] }
  | { readonly kind: 'abort'; readonly code: string; readonly detail: string; readonly finished_at: string };

/** A verification is requested once and ends once. Any finding makes it fail. */
export function decideVerification(command: VerificationStep, state: VerificationState): readonly VerificationEvent[] {
  switch (command.kind) {
    case 'request':
      return state.status === 'none' ? [{ type: 'VerificationRequested', data: command.data }] : [];
    case 'conclude': {
      if (state.status !== 'running') return [];
      const { findings, files_checked, bytes_checked, finished_at } = command;
      // A guest that does not boot fails the verification but is not a finding, because no file is damaged.
      if (findings.length === 0 && state.boot_verdict !== 'not_booted')
        return [{ type: 'VerificationPassed', data: { files_checked, bytes_checked, finished_at } }];
      return [{ type: 'VerificationFailed', data: { findings, files_checked, bytes_checked, finished_at } }];
    }
    case 'healing_prepared':
      return state.status === 'running' && state.request.heal === true ? [{ type: 'HealingPrepared', data: command.data }] : [];
    case 'healing_failed':
      return state.status === 'running' && !state.unhealed.includes(command.data.backup_id) ? [{ type: 'HealingFailed', data: command.data }] : [];
    case 'boot_started': {
      const { attempt, files_checked, bytes_checked, started_at } = command;
      if (state.status !== 'running' || state.boot_verdict !== null || (state.boot?.attempt ?? 0) >= attempt) return [];
      return [{ type: 'BootCheckStarted', data: { attempt, files_checked, bytes_checked, started_at } }];
    }
    case 'boot_checked':
      return state.status === 'running' && state.boot !== null && state.boot_verdict === null ? [{ type: 'BootChecked', data: command.data }] : [];
    case 'abort':
      return state.status === 'running'
        ? [{ type: 'VerificationAborted', data: { code: command.code, detail: command.detail, finished_at: command.finished_at } }]
        : [];
  }
}
