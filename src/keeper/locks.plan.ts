const DAY_MS = 86_400_000;

/** A folder with a readable manifest, as it was found in a repository. Everything in it is what some account wrote there. */
export type FoundPoint = {
  /** Relative to the repository. */
  readonly folder: string;
  /** The folder's name begins with a dot: a restore point that is being removed, or was never finished. */
  readonly hidden: boolean;
  readonly backup_id: string;
  readonly parent_backup_id: string | null;
  /** Milliseconds since 1970; null: its manifest demands no lock. */
  readonly locked_until_ms: number | null;
  /** Its files are being replaced. */
  readonly rewriting: boolean;
  readonly manifest_immutable: boolean;
  /** The others of its files. */
  readonly files: readonly { readonly name: string; readonly immutable: boolean }[];
};

/** The longest lock of a restore point that the keeper has seen, in milliseconds since 1970. */
export type KnownLock = { readonly first_seen_ms: number; readonly until_ms: number | null };
export type KnownLocks = Readonly<Record<string, KnownLock>>;

export type LockSettings = { readonly lock_days: number; readonly longest_lock_days: number };

/** Locking begins with the manifest and unlocking ends with it, so whatever the keeper has made immutable lies next to an immutable manifest. */
export type LockAction =
  | { readonly kind: 'lock'; readonly folder: string; readonly manifest: boolean; readonly files: readonly string[]; readonly until_ms: number }
  | { readonly kind: 'unlock'; readonly folder: string; readonly files: readonly string[]; readonly until_ms: number | null };

/** Files that are being written or removed count only if they were locked before: a partial restore point neither is locked nor locks another one. */
function counts({ hidden, manifest_immutable }: FoundPoint): boolean {
  return !hidden || manifest_immutable;
}

/**
 * The locks of all restore points of a repository: the latest of the own lock, of those of all that depends on it, and of what was known before. Manifests can
 * make a lock longer and never shorter, also the manifest of a child that was added after the parent was locked; so no locked manifest is ever rewritten.
 * @param known what is no longer found stays until its lock has ended
 */
export function knownLocks(points: readonly FoundPoint[], known: KnownLocks, now: number, { lock_days, longest_lock_days }: LockSettings): KnownLocks {
  const found = points.filter(counts);
  const locks = new Map(Object.entries(known).filter(([, { until_ms }]) => until_ms !== null && until_ms > now));
  const own = new Map<string, number | null>();
  const parents = new Map<string, Set<string>>();
  for (const { backup_id, parent_backup_id, locked_until_ms } of found) {
    const first_seen_ms = known[backup_id]?.first_seen_ms ?? now;
    locks.set(backup_id, { first_seen_ms, until_ms: known[backup_id]?.until_ms ?? null });
    const demanded = locked_until_ms === null ? null : Math.min(locked_until_ms, first_seen_ms + longest_lock_days * DAY_MS);
    const wanted = latest(demanded, lock_days === 0 ? null : first_seen_ms + lock_days * DAY_MS);
    own.set(backup_id, latest(own.get(backup_id) ?? null, wanted));
    if (parent_backup_id !== null) parents.set(backup_id, (parents.get(backup_id) ?? new Set()).add(parent_backup_id));
  }
  for (const [backupId, until] of own) {
    // Manifests may name each other in a circle.
    const visited = new Set<string>();
    const open = [backupId];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (visited.has(id)) continue;
      visited.add(id);
      const lock = locks.get(id);
      if (lock !== undefined) locks.set(id, { ...lock, until_ms: latest(lock.until_ms, until) });
      open.push(...(parents.get(id) ?? []));
    }
  }
  return Object.fromEntries(locks);
}

/** What has to be done to the files of a repository. @param locks of knownLocks, which have been saved */
export function lockActions(points: readonly FoundPoint[], locks: KnownLocks, now: number, mayUnlock: boolean): readonly LockAction[] {
  return points.filter(counts).flatMap((point): readonly LockAction[] => {
    const { folder, hidden, rewriting, manifest_immutable, files } = point;
    const until_ms = locks[point.backup_id]?.until_ms ?? null;
    const named = (immutable: boolean): readonly string[] => files.filter((file) => file.immutable === immutable).map(({ name }) => name);
    if (until_ms !== null && until_ms > now) {
      if (hidden || rewriting || (manifest_immutable && named(false).length === 0)) return [];
      return [{ kind: 'lock', folder, manifest: !manifest_immutable, files: named(false), until_ms }];
    }
    return mayUnlock && manifest_immutable ? [{ kind: 'unlock', folder, files: named(true), until_ms }] : [];
  });
}

function latest(one: number | null, other: number | null): number | null {
  if (one === null) return other;
  return other === null ? one : Math.max(one, other);
}
