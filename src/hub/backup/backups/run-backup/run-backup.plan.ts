import { unknownVariant } from '../../../../kernel/decider.js';
import type { BackupRun, BackupState, DiskTarget } from '../model/backup.state.js';

/** The state of an export according to its own stream. */
export type ExportFact =
  | { readonly standing: 'absent' }
  | { readonly standing: 'requested' }
  | { readonly standing: 'started' }
  /** The export could not be started, or ended unexpectedly. exit_code is null if it is unknown. */
  | { readonly standing: 'broken'; readonly code: string; readonly exit_code: number | null; readonly detail: string }
  /** killed: the export did not end in time, so unwritten data is lost. */
  | { readonly standing: 'stopped'; readonly killed: boolean };

export type RunFacts = {
  /** By export id; an export that is not in the map is absent. */
  readonly exports: ReadonlyMap<string, ExportFact>;
  /** Whether the node has reported every disk as completed since this hub was started. The secrets in its report are kept in memory only. */
  readonly copies_reported: boolean;
};

/** The next step for a backup. Every step can be repeated, and checks what exists before it creates anything. */
export type RunStep =
  | { readonly step: 'await_admission' }
  | { readonly step: 'create_targets' }
  | { readonly step: 'start_exports'; readonly targets: readonly DiskTarget[] }
  | { readonly step: 'request_transfer' }
  | { readonly step: 'watch_transfer' }
  | { readonly step: 'fail'; readonly code: string; readonly detail: string }
  | { readonly step: 'ask_node' }
  | { readonly step: 'stop_exports'; readonly export_ids: readonly string[] }
  | { readonly step: 'examine' }
  | { readonly step: 'seal' }
  | { readonly step: 'complete' }
  | { readonly step: 'settle'; readonly outcome: 'committed' | 'discarded' }
  | { readonly step: 'undo' }
  | { readonly step: 'remove_files' }
  | { readonly step: 'finished' };

/**
 * Derives the next steps from the recorded events and the state of the exports, never from the memory of this process, so that a killed hub resumes here. The
 * steps returned together do not depend on each other.
 */
export function planRun(state: BackupState, facts: RunFacts): readonly RunStep[] {
  switch (state.status) {
    case 'none':
      return [{ step: 'finished' }];
    case 'pending':
      return [{ step: 'await_admission' }];
    case 'running':
      return planRunning(state.run, facts);
    case 'completed':
      return [state.run.settled ? { step: 'finished' } : { step: 'settle', outcome: 'committed' }];
    case 'failed':
    case 'cancelled': {
      const steps: RunStep[] = [];
      if (state.run.transfer_requested && !state.run.settled) steps.push({ step: 'settle', outcome: 'discarded' });
      if (!state.undone) steps.push({ step: 'undo' });
      return steps.length > 0 ? steps : [{ step: 'finished' }];
    }
    case 'deleted':
      return [state.files_removed ? { step: 'finished' } : { step: 'remove_files' }];
    default:
      return unknownVariant('plan of a backup run', state);
  }
}

function planRunning(run: BackupRun, facts: RunFacts): readonly RunStep[] {
  const targets: DiskTarget[] = [];
  for (const disk of run.disks) {
    if (disk.target === null) return [{ step: 'create_targets' }];
    targets.push(disk.target);
  }
  if (run.sealed !== null) return [{ step: 'complete' }];
  const standing = (target: DiskTarget): ExportFact => facts.exports.get(target.export_id) ?? { standing: 'absent' };

  // The files are no longer written to, although the node may still have to release its source.
  if (run.disks.every((disk) => disk.transfer.status === 'completed')) {
    const live = targets.filter((target) => ['requested', 'started'].includes(standing(target).standing));
    // If a hub is killed between sending SIGTERM and recording it, the export is found exited with 0: qemu-nbd closed the file properly.
    const crashed = targets.filter((target) => {
      const fact = standing(target);
      return fact.standing === 'broken' && fact.exit_code !== 0;
    });
    const killed = targets.find((target) => {
      const fact = standing(target);
      return fact.standing === 'stopped' && fact.killed;
    });
    if (killed !== undefined) {
      const detail = `The export ${killed.export_name} of disk ${killed.disk_id} did not end in time and was killed, so its file may lack the most recent writes.`;
      return [{ step: 'fail', code: 'export_killed', detail }];
    }
    const broken = brokenExport(crashed, standing);
    if (broken !== null) return [broken];
    if (live.length > 0) return [{ step: 'stop_exports', export_ids: live.map((target) => target.export_id) }];
    if (!facts.copies_reported && run.disks.some((disk) => disk.transfer.content_digest !== null)) return [{ step: 'ask_node' }];
    return run.snapshot_released ? [{ step: 'seal' }] : [{ step: 'examine' }, { step: 'watch_transfer' }];
  }

  const broken = brokenExport(targets, standing);
  if (broken !== null) return [broken];
  if (!run.transfer_requested) {
    const missing = targets.filter((target) => standing(target).standing !== 'started');
    return [missing.length > 0 ? { step: 'start_exports', targets: missing } : { step: 'request_transfer' }];
  }
  return [{ step: 'watch_transfer' }];
}

function brokenExport(targets: readonly DiskTarget[], standing: (target: DiskTarget) => ExportFact): RunStep | null {
  for (const target of targets) {
    const fact = standing(target);
    if (fact.standing === 'broken') {
      return {
        step: 'fail',
        code: fact.code,
        detail: `The export ${target.export_name} of disk ${target.disk_id} on port ${target.nbd_port} failed: ${fact.detail}`,
      };
    }
  }
  return null;
}
