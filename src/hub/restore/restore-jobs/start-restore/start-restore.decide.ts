import { DomainError } from '../../../../kernel/domain-error.js';
import type { RestoreJobEvent, RestoreJobRequested } from '../model/restore-job.events.js';
import type { RestoreJobState } from '../model/restore-job.state.js';

/** Facts about the target, gathered just before the decision. */
export type TargetFacts = {
  readonly found: 'folder' | 'missing' | 'not_a_folder';
  readonly writable: boolean;
  /** Path of the repository that contains the target; null: none. */
  readonly inside_repository: string | null;
  /** The hub's own directory that contains the target, which is never a valid target; null: none. */
  readonly inside_own: string | null;
  /** Directories to which disks may be restored; empty: any. */
  readonly roots: readonly string[];
  readonly inside_roots: boolean;
  /** Output names that already exist. */
  readonly taken: readonly string[];
  readonly free_bytes: number;
  /** Estimated minimum size of the files. */
  readonly needed_bytes: number;
};

export type RequestRestore = { readonly job: RestoreJobRequested['data']; readonly target: TargetFacts };

/** Refuses predictable failures before anything is written. A repeated request changes nothing. */
export function decideStartRestore({ job, target }: RequestRestore, state: RestoreJobState): readonly RestoreJobEvent[] {
  if (state.status !== 'none') return [];
  const path = job.target_path;
  const refuse = (kind: 'invalid' | 'conflict' | 'storage_full', code: string, what: string, facts = {}): never => {
    throw new DomainError(kind, code, what, { target_path: path, ...facts });
  };
  if (job.chain === 'chain' && job.format !== 'qcow2') {
    refuse('invalid', 'restore_chain_needs_qcow2', `Only qcow2 files can form a chain. Restore as qcow2, or flattened as ${job.format}.`, {
      format: job.format,
    });
  }
  if (target.found === 'missing')
    refuse('invalid', 'target_missing', `The directory "${path}" does not exist on the hub. Create it first, or specify another.`);
  if (target.found === 'not_a_folder') refuse('invalid', 'target_not_a_folder', `"${path}" is not a directory. Specify a directory on the hub.`);
  if (target.inside_repository !== null) {
    refuse('invalid', 'target_in_repository', `"${path}" is inside the repository "${target.inside_repository}". Restore to a directory outside of it.`);
  }
  if (target.inside_own !== null) {
    refuse('invalid', 'target_refused', `"${path}" is inside "${target.inside_own}", which the hub itself uses. Specify another directory.`);
  }
  if (target.roots.length > 0 && !target.inside_roots) {
    refuse('invalid', 'target_refused', `"${path}" is not inside an allowed directory (restore_roots: ${target.roots.join(', ')}).`);
  }
  if (!target.writable)
    refuse(
      'invalid',
      'target_not_writable',
      `The hub has no write access to "${path}". Grant it (on a deployed hub with install.sh allow hub), or specify another directory.`,
    );
  if (target.taken.length > 0 && !job.overwrite) {
    refuse(
      'conflict',
      'target_exists',
      `"${path}" already contains ${target.taken.join(', ')}. Move these files away, specify another directory, or set overwrite.`,
      {
        files: target.taken,
      },
    );
  }
  if (target.needed_bytes > target.free_bytes) {
    refuse('storage_full', 'target_full', `The restored disks need ${target.needed_bytes} bytes, but "${path}" has only ${target.free_bytes} bytes free.`, {
      needed_bytes: target.needed_bytes,
      free_bytes: target.free_bytes,
    });
  }
  return [{ type: 'RestoreJobRequested', data: job }];
}
