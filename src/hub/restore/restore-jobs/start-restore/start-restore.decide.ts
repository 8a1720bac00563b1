import { DomainError } from '../../../../kernel/domain-error.js';
import type { RestoreJobEvent, RestoreJobRequested } from '../model/restore-job.events.js';
import type { RestoreJobState } from '../model/restore-job.state.js';

/** What was found at the target just now. */
export type TargetFacts = {
  readonly found: 'folder' | 'missing' | 'not_a_folder';
  readonly writable: boolean;
  /** Path of the repository that the target lies in; null: in none. */
  readonly inside_repository: string | null;
  /** Folder that is not for restored disks and that the target lies in; null: none. */
  readonly inside_own: string | null;
  /** Folders that disks may be restored to; empty: any. */
  readonly roots: readonly string[];
  readonly inside_roots: boolean;
  /** Names among the outputs that are taken. */
  readonly taken: readonly string[];
  readonly free_bytes: number;
  /** What the files will take at least, as far as it can be told beforehand. */
  readonly needed_bytes: number;
};

export type RequestRestore = { readonly job: RestoreJobRequested['data']; readonly target: TargetFacts };

/** Whatever can be known to be in the way is refused before anything is written. The same request again asks for the same job. */
export function decideStartRestore({ job, target }: RequestRestore, state: RestoreJobState): readonly RestoreJobEvent[] {
  if (state.status !== 'none') return [];
  const path = job.target_path;
  const refuse = (kind: 'invalid' | 'conflict' | 'storage_full', code: string, what: string, facts = {}): never => {
    throw new DomainError(kind, code, what, { target_path: path, ...facts });
  };
  if (job.chain === 'chain' && job.format !== 'qcow2') {
    refuse('invalid', 'restore_chain_needs_qcow2', `Only qcow2 files can stand on each other; restore as qcow2, or flattened as ${job.format}.`, {
      format: job.format,
    });
  }
  if (target.found === 'missing') refuse('invalid', 'target_missing', `There is no folder "${path}" on the hub. Make it first, or name another.`);
  if (target.found === 'not_a_folder') refuse('invalid', 'target_not_a_folder', `"${path}" is not a folder. Name a folder of the hub.`);
  if (target.inside_repository !== null) {
    refuse('invalid', 'target_in_repository', `"${path}" lies in the repository "${target.inside_repository}". Restore to a folder outside of it.`);
  }
  if (target.inside_own !== null) {
    refuse('invalid', 'target_refused', `"${path}" lies in "${target.inside_own}", which the hub uses itself. Name another folder.`);
  }
  if (target.roots.length > 0 && !target.inside_roots) {
    refuse('invalid', 'target_refused', `"${path}" is in none of the folders that disks may be restored to (restore_roots: ${target.roots.join(', ')}).`);
  }
  if (!target.writable)
    refuse(
      'invalid',
      'target_not_writable',
      `The hub may not write to "${path}". Give it the right to (in a deployment by install.sh allow hub), or name another folder.`,
    );
  if (target.taken.length > 0 && !job.overwrite) {
    refuse('conflict', 'target_exists', `In "${path}" there is already: ${target.taken.join(', ')}. Move it away, name another folder, or ask for overwrite.`, {
      files: target.taken,
    });
  }
  if (target.needed_bytes > target.free_bytes) {
    refuse('storage_full', 'target_full', `The restored disks take ${target.needed_bytes} bytes, but "${path}" has only ${target.free_bytes} free.`, {
      needed_bytes: target.needed_bytes,
      free_bytes: target.free_bytes,
    });
  }
  return [{ type: 'RestoreJobRequested', data: job }];
}
