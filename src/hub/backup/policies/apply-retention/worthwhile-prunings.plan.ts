import type { ChainPruning, PlannedStep } from '../../chains/model/chain.commands.js';

/** A pruning may write this many times the bytes of the restore points that it merges away. */
const WRITES_PER_BYTE_GONE = 4;

/**
 * The restore points that are worth removing now by rewriting those that depend on them: all of a chain together, or else those whose rewriting is worth it by
 * itself. Making an incremental a full again writes the full anew on a file system that shares no blocks; with that after each backup, a repository would do
 * little else. So it waits until enough incrementals go with it, and until then the full stays. What becomes part of a rewritten full does not count as gone.
 */
export function worthwhilePrunings(chains: readonly ChainPruning[]): readonly string[] {
  return chains.flatMap(({ steps }) => {
    const drops = new Map(steps.flatMap(({ kind, backup_id, free_bytes }) => (kind === 'drop' ? [[backup_id, free_bytes] as const] : [])));
    const rewritings = steps.filter(({ kind }) => kind !== 'drop');
    if (isWorthwhile(rewritings, drops)) return [...drops.keys()];
    const waiting = new Set(rewritings.filter((rewriting) => !isWorthwhile([rewriting], drops)).flatMap(({ merged }) => merged));
    return [...drops.keys()].filter((backupId) => !waiting.has(backupId));
  });
}

function isWorthwhile(rewritings: readonly PlannedStep[], drops: ReadonlyMap<string, number>): boolean {
  const written = rewritings.reduce((bytes, { write_bytes }) => bytes + write_bytes, 0);
  const gone = rewritings.flatMap(({ kind, merged }) => (kind === 'flatten' ? merged.slice(0, -1) : merged));
  return written <= WRITES_PER_BYTE_GONE * gone.reduce((bytes, backupId) => bytes + (drops.get(backupId) ?? 0), 0);
}
