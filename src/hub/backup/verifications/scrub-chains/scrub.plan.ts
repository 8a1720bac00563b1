const DAY_MS = 86_400_000;

/** The sound restore points of a chain in the repository that was backed up to, or a copy with those that it depends on. */
export interface StandingChain {
  readonly chain_id: string;
  readonly repository_id: string;
  readonly of_copies: boolean;
  /** The newest; its verification reads the others too. */
  readonly newest_backup_id: string;
  readonly size_bytes: number;
  /** When each of them had been read, or written, at the latest. Milliseconds since 1970. */
  readonly checked_at: number;
}

/** A verification that was requested within the last day. */
export interface RecentVerification {
  readonly chain_id: string;
  readonly repository_id: string;
  readonly backup_id: string;
  /** 0 if it has not ended, or reached no verdict. */
  readonly bytes_checked: number;
}

/**
 * Chooses what is verified next, so that each restore point is read once in `100 / percent` days: the chains that were not read for that long, those that
 * have waited longest first. In each repository that ends for the day with the chain that reaches `percent` of the bytes. A chain that was to be verified
 * within the last day is left out, also if the verification reached no verdict.
 * @returns the newest restore point of each chosen chain
 */
export function planScrub(chains: readonly StandingChain[], recent: readonly RecentVerification[], percent: number, now: number): readonly StandingChain[] {
  if (percent === 0) return [];
  const share = percent / 100;
  const tried = new Set(recent.flatMap(({ chain_id, repository_id, backup_id }) => [`${repository_id} ${chain_id}`, `${repository_id} ${backup_id}`]));
  return [...Map.groupBy(chains, ({ repository_id }) => repository_id)].flatMap(([repositoryId, own]) => {
    const read = recent.reduce((sum, { repository_id, bytes_checked }) => sum + (repository_id === repositoryId ? bytes_checked : 0), 0);
    let left = own.reduce((sum, { size_bytes }) => sum + size_bytes, 0) * share - read;
    const due = own
      .filter(
        ({ chain_id, of_copies, newest_backup_id, checked_at }) =>
          !tried.has(`${repositoryId} ${of_copies ? newest_backup_id : chain_id}`) && now - checked_at >= DAY_MS / share,
      )
      .toSorted((a, b) => a.checked_at - b.checked_at);
    return due.filter(({ size_bytes }) => {
      const chosen = left > 0;
      left -= size_bytes;
      return chosen;
    });
  });
}
