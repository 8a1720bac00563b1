import type { ChainPruning } from '../../chains/model/chain.commands.js';

/** A pruning may write this many times the bytes of the restore points that it merges away. */
const WRITES_PER_BYTE_GONE = 4;

/**
 * The restore points that are worth removing now by rewriting those that depend on them. Making an incremental a full again writes the full anew on a file system
 * that shares no blocks; with that after each backup, a repository would do little else. So it waits until enough incrementals go with it, and until then the
 * full stays. What becomes part of a rewritten full does not count as gone.
 */
export function worthwhilePrunings(chains: readonly ChainPruning[]): readonly string[] {
  return chains.flatMap(({ steps, write_bytes }) => {
    const drops = steps.filter(({ kind }) => kind === 'drop');
    const becomeFulls = new Set(steps.flatMap(({ kind, merged }) => (kind === 'flatten' ? merged.slice(-1) : [])));
    const gone = drops.reduce((bytes, { backup_id, free_bytes }) => bytes + (becomeFulls.has(backup_id) ? 0 : free_bytes), 0);
    return write_bytes <= WRITES_PER_BYTE_GONE * gone ? drops.map(({ backup_id }) => backup_id) : [];
  });
}
