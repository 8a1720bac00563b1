/** The backup that made a change id, as far as the hub knows it. */
export type MakerOfChangeId = {
  readonly status: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';
  /** The node has confirmed that it keeps nothing of the run except what chains need. */
  readonly settled: boolean;
};

/**
 * The change ids found at a node that no incremental will start from. A change id whose backup is not settled is left alone, because settling the backup
 * takes care of it. So is one whose backup this hub does not know, because another hub may have made it.
 */
export function unneededChangeIds(
  found: readonly string[],
  inUse: ReadonlySet<string>,
  makerOf: (changeId: string) => MakerOfChangeId | null,
): readonly string[] {
  return found.filter((changeId) => {
    if (inUse.has(changeId)) return false;
    const maker = makerOf(changeId);
    return maker !== null && maker.settled && maker.status !== 'pending' && maker.status !== 'running';
  });
}
