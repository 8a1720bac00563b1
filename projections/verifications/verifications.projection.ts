import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/platform/event-store/command-runner.js';
import type { Projection } from '../../src/platform/postgres/projection-definition.js';
import type { VerificationEvent, VerificationFinding } from '../../src/verifications/model/verification.events.js';

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
  },
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
      };
    }
    if (row === undefined) throw new Error(`verification stream ${recorded.stream} has ${event.type} before VerificationRequested`);
    switch (event.type) {
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
