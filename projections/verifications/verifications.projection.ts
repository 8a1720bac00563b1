import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { BootArtefact, BootWanted, VerificationEvent, VerificationFinding } from '../../src/hub/backup/verifications/model/verification.events.js';

export type BootRow = {
  readonly node_id: string;
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  readonly timeout_seconds: number;
  readonly status: 'pending' | 'running' | 'booted' | 'not_booted';
  readonly attempt: number;
  readonly sign: 'console_text' | 'guest_agent' | null;
  readonly detail: string | null;
  readonly seconds: number | null;
  readonly changes: readonly { readonly code: string; readonly detail: string }[];
  readonly artefacts: readonly BootArtefact[];
  readonly screenshot_problem: string | null;
};

export type VerificationRow = {
  readonly verification_id: string;
  readonly backup_id: string;
  readonly vm_id: string;
  readonly vm_name: string;
  readonly repository_id: string;
  readonly chain_id: string;
  readonly status: 'running' | 'passed' | 'failed' | 'aborted';
  readonly findings: readonly VerificationFinding[];
  readonly files_checked: number | null;
  readonly bytes_checked: number | null;
  readonly error: { readonly code: string; readonly detail: string } | null;
  readonly requested_at: string;
  readonly ended_at: string | null;
  readonly created_position: string;
  /** null: not requested. */
  readonly boot: BootRow | null;
};

export const verificationsProjection: Projection<VerificationRow> = {
  name: 'verifications',
  categories: ['verification'],
  key: 'verification_id',
  columns: {
    verification_id: 'text',
    backup_id: 'text',
    vm_id: 'text',
    vm_name: 'text',
    repository_id: 'text',
    chain_id: 'text',
    status: 'text',
    findings: 'jsonb',
    files_checked: 'integer',
    bytes_checked: 'bigint',
    error: 'jsonb',
    requested_at: 'timestamptz',
    ended_at: 'timestamptz',
    created_position: 'text',
    boot: 'jsonb',
  },
  nullable: { files_checked: true, bytes_checked: true, error: true, ended_at: true, boot: true },
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<VerificationEvent>(recorded);
    if (event.type === 'VerificationRequested') {
      const { verification_id, backup_id, vm_id, vm_name, repository_id, chain_id, requested_at } = event.data;
      return {
        verification_id,
        backup_id,
        vm_id,
        vm_name,
        repository_id,
        chain_id,
        status: 'running',
        findings: [],
        files_checked: null,
        bytes_checked: null,
        error: null,
        requested_at,
        ended_at: null,
        created_position: recorded.position,
        boot: bootWanted(event.data.boot),
      };
    }
    if (row === undefined) throw new Error(`verification stream ${recorded.stream} has ${event.type} before VerificationRequested`);
    switch (event.type) {
      case 'BootCheckStarted': {
        const { attempt, files_checked, bytes_checked } = event.data;
        return { ...row, files_checked, bytes_checked, boot: row.boot === null ? null : { ...row.boot, status: 'running', attempt } };
      }
      case 'BootChecked': {
        const { verdict, sign, detail, seconds, changes, artefacts, screenshot_problem } = event.data;
        if (row.boot === null) return { ...row };
        return { ...row, boot: { ...row.boot, status: verdict, sign, detail, seconds, changes, artefacts, screenshot_problem } };
      }
      case 'VerificationPassed': {
        const { files_checked, bytes_checked, finished_at } = event.data;
        return { ...row, status: 'passed', files_checked, bytes_checked, ended_at: finished_at };
      }
      case 'VerificationFailed': {
        const { findings, files_checked, bytes_checked, finished_at } = event.data;
        return { ...row, status: 'failed', findings, files_checked, bytes_checked, ended_at: finished_at };
      }
      case 'VerificationAborted':
        return { ...row, status: 'aborted', error: { code: event.data.code, detail: event.data.detail }, ended_at: event.data.finished_at };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function bootWanted(wanted: BootWanted | undefined): BootRow | null {
  if (wanted === undefined) return null;
  const { node_id, console_text, guest_agent, timeout_seconds } = wanted;
  return {
    node_id,
    console_text,
    guest_agent,
    timeout_seconds,
    status: 'pending',
    attempt: 0,
    sign: null,
    detail: null,
    seconds: null,
    changes: [],
    artefacts: [],
    screenshot_problem: null,
  };
}
