/** What the hub knows of the backup that a change id was made by. */
export type MakerOfChangeId = {
  readonly status: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';
  /** The node has confirmed that it keeps nothing of the run but what chains need. */
  readonly settled: boolean;
};

/**
 * Which of the change ids found at a node nothing goes on from. One whose backup is not through is not judged: its own end will see to it. Nor is one of a backup that this hub
 * does not know, for another hub may have made it.
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
