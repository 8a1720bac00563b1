import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { BootWanted, VerificationEvent } from '../../src/hub/backup/verifications/model/verification.events.js';
import { VerificationReadModel, type BootRow, type VerificationRow } from './verifications.read-model.js';

export const verificationsProjection: Projection<VerificationRow> = {
  ...VerificationReadModel.definition,
  categories: ['verification'],
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
        heal: event.data.heal ?? false,
        healed: [],
        unhealed: [],
        boot: bootWanted(event.data.boot),
      };
    }
    if (row === undefined) throw new Error(`verification stream ${recorded.stream} has ${event.type} before VerificationRequested`);
    switch (event.type) {
      case 'HealingPrepared': {
        const { backup_id, files } = event.data;
        return { ...row, healed: [...row.healed, ...files.map((file) => ({ backup_id, ...file }))] };
      }
      case 'HealingFailed': {
        const { backup_id, code, detail } = event.data;
        return { ...row, unhealed: [...row.unhealed, { backup_id, code, detail }] };
      }
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
