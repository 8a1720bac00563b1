import { unknownVariant } from '../../../../kernel/decider.js';
import type {
  BackupEvent,
  BackupFailed,
  BackupPlannedV2,
  BackupStage,
  ChangeTrackingSettled,
  DisksLeftOut,
  DiskTargetCreated,
  RestorePointSealed,
  TransferRequested,
  WaitingFor,
} from '../model/backup.events.js';
import { type BackupState, stageOf } from '../model/backup.state.js';

/**
 * Outcomes that the reactor records. Each applies only in the state it was made for. In any other state the run has moved on (for example by a cancel), and
 * it changes nothing.
 */
export type RecordRun =
  | { readonly kind: 'record-queued'; readonly waiting_for: WaitingFor; readonly detail: string }
  | { readonly kind: 'record-plan'; readonly plan: BackupPlannedV2['data']; readonly left_out_disks: DisksLeftOut['data']['disks'] }
  | { readonly kind: 'record-targets'; readonly targets: readonly DiskTargetCreated['data'][] }
  | { readonly kind: 'record-transfer-requested'; readonly data: TransferRequested['data'] }
  | { readonly kind: 'record-stalled'; readonly silent_since: string }
  | { readonly kind: 'record-sealed'; readonly data: RestorePointSealed['data'] }
  | { readonly kind: 'complete'; readonly completed_at: string }
  | {
      readonly kind: 'fail';
      /** null: derived from the run's events. */
      readonly stage: BackupStage | null;
      readonly code: string;
      readonly detail: string;
      readonly failed_at: string;
    }
  | { readonly kind: 'record-settled'; readonly outcome: ChangeTrackingSettled['data']['outcome'] }
  | { readonly kind: 'record-undone'; readonly undone_at: string }
  | { readonly kind: 'record-files-removed'; readonly folder: string };

export function decideRecordRun(command: RecordRun, state: BackupState): readonly BackupEvent[] {
  switch (command.kind) {
    case 'record-queued':
      if (state.status !== 'pending' || state.waiting_for === command.waiting_for) return [];
      return [{ type: 'BackupQueued', data: { waiting_for: command.waiting_for, detail: command.detail } }];
    case 'record-plan':
      if (state.status !== 'pending') return [];
      return [
        { type: 'BackupPlannedV2', data: command.plan },
        ...(command.left_out_disks.length === 0 ? [] : [{ type: 'DisksLeftOut' as const, data: { disks: command.left_out_disks } }]),
      ];
    case 'record-targets':
      if (state.status !== 'running') return [];
      return command.targets
        .filter((target) => state.run.disks.some((disk) => disk.planned.disk_id === target.disk_id && disk.target === null))
        .map((target) => ({ type: 'DiskTargetCreated', data: target }));
    case 'record-transfer-requested':
      return state.status === 'running' && !state.run.transfer_requested ? [{ type: 'TransferRequested', data: command.data }] : [];
    case 'record-stalled':
      if (state.status !== 'running' || state.run.silent_since !== null) return [];
      return [{ type: 'TransferStalled', data: { silent_since: command.silent_since } }];
    case 'record-sealed':
      return state.status === 'running' && state.run.sealed === null ? [{ type: 'RestorePointSealed', data: command.data }] : [];
    case 'complete':
      return state.status === 'running' && state.run.sealed !== null ? [{ type: 'BackupCompleted', data: { completed_at: command.completed_at } }] : [];
    case 'fail':
      return decideFail(command, state);
    case 'record-settled':
      if (state.status === 'none' || state.status === 'pending' || state.status === 'running' || state.run.settled) return [];
      return [{ type: 'ChangeTrackingSettled', data: { outcome: command.outcome } }];
    case 'record-undone':
      if ((state.status !== 'failed' && state.status !== 'cancelled') || state.undone) return [];
      return [{ type: 'BackupUndone', data: { undone_at: command.undone_at } }];
    case 'record-files-removed':
      return state.status === 'deleted' && !state.files_removed ? [{ type: 'RestorePointFilesRemoved', data: { folder: command.folder } }] : [];
    default:
      return unknownVariant('record run', command);
  }
}

function decideFail(command: Extract<RecordRun, { kind: 'fail' }>, state: BackupState): readonly BackupEvent[] {
  if (state.status !== 'pending' && state.status !== 'running') return [];
  const data: BackupFailed['data'] = {
    stage: command.stage ?? stageOf(state.run),
    code: command.code,
    detail: command.detail,
    failed_at: command.failed_at,
  };
  return [{ type: 'BackupFailed', data }];
}
