import type { RequestedBackupType, Tier } from '../../backups/model/backup.events.js';
import type { ChainPruning } from '../../chains/model/chain.commands.js';
import { findingsOf } from '../apply-retention/retention-findings.plan.js';
import { worthwhilePrunings } from '../apply-retention/worthwhile-prunings.plan.js';
import { expiringOf, planRemovals, type RetentionCalendar, type RetentionPoint, type RetentionVersion, tiersOf } from '../model/retention.plan.js';

/** A restore point of a VM. Only what the policy has made is judged; the others stand below and above it in chains. */
export type TimelinePoint = RetentionPoint & {
  readonly made_by_policy: boolean;
  readonly repository_id: string;
  readonly chain_id: string;
  readonly parent_backup_id: string | null;
  readonly bytes: number;
  /** null: it has not expired. */
  readonly expiry: { /** When its grace ends, in milliseconds since 1970. */ readonly grace_until: number } | null;
};

/** What the hub goes by. */
export interface TimelineRules {
  readonly policy_id: string;
  readonly versions: readonly RetentionVersion[];
  readonly time_zone: string;
  readonly grace_ms: number;
  /** Whether a copy of a file takes no space of its own in the repository. */
  readonly shares_blocks: boolean;
  readonly calendar: RetentionCalendar;
  /** Called for each restore point that is judged, as often as it is: the work so far. */
  readonly judged: (points: number) => void;
  /** How the hub chooses between full and incremental, and how it plans the pruning of a chain. */
  readonly typeOfNext: (requested: RequestedBackupType, chain: ChainOutline | null, tracked: boolean, longest: number) => 'full' | 'incremental' | null;
  readonly planPruning: (points: readonly OutlinedPoint[], sharesBlocks: boolean) => Omit<ChainPruning, 'chain_id' | 'repository_id'>;
}

/** The newest restore point of a chain, and the length of the chain. */
export interface ChainOutline {
  readonly backup_id: string;
  readonly chain_id: string;
  readonly length: number;
  readonly damaged: boolean;
}

export type OutlinedPoint = Pick<TimelinePoint, 'backup_id' | 'parent_backup_id' | 'bytes'> & { readonly expired: boolean; readonly rewritable: boolean };

/** A backup that is to be made. */
export interface NextBackup {
  readonly backup_id: string;
  readonly requested: RequestedBackupType;
  readonly repository_id: string;
  readonly policy_version: number;
  readonly max_chain_length: number;
  /** `incremental_bytes` null: the VM makes fulls only. */
  readonly sizes: { readonly full_bytes: number; readonly incremental_bytes: number | null };
}

export type TimelineChange =
  | { readonly kind: 'made' | 'expired' | 'kept_again' | 'removed'; readonly point: TimelinePoint; readonly at: number }
  /** Its files grew, because the content of a removed one below it became part of them. */
  | { readonly kind: 'rewritten'; readonly point: TimelinePoint; readonly at: number; readonly grown_bytes: number };

const NO_TIERS: ReadonlyMap<string, readonly Tier[]> = new Map();

interface Expired {
  readonly ids: ReadonlySet<string>;
  readonly news: boolean;
}

/**
 * The restore points of one VM in the course of time, by the functions that the hub's reactors call: after each backup and when a grace period ends, retention is
 * decided and recorded, what may go is removed, and what others stand on is pruned if that is worth it.
 */
export class VmTimeline {
  private standing: TimelinePoint[];
  private wake: number | null = null;
  private readonly nothingExpires: boolean;
  private readonly oneRule: boolean;
  private hasSettled = false;
  /** What expired when it was decided last. */
  private known: Expired | null = null;

  constructor(
    points: readonly TimelinePoint[],
    private readonly rules: TimelineRules,
    private readonly changed: (change: TimelineChange) => void,
  ) {
    const ids = new Set(points.map(({ backup_id }) => backup_id));
    this.standing = points.map((point) => (point.parent_backup_id === null || ids.has(point.parent_backup_id) ? point : { ...point, parent_backup_id: null }));
    this.nothingExpires = rules.versions.every(({ retention }) => retention === null);
    this.oneRule = rules.versions.every(({ retention }) => retention?.applies_to !== 'new');
  }

  get points(): readonly TimelinePoint[] {
    return this.standing;
  }

  /** Brings the VM to an instant, in milliseconds since 1970. */
  settle(now: number): void {
    this.advance(now);
    this.apply(now);
  }

  /** Ends all grace periods until an instant. */
  advance(to: number): void {
    while (this.wake !== null && this.wake <= to) this.apply(this.wake, true);
  }

  add(point: TimelinePoint, now: number): void {
    this.advance(now);
    const hasParent = this.standing.some(({ backup_id }) => backup_id === point.parent_backup_id);
    const added = hasParent ? point : { ...point, parent_backup_id: null };
    this.standing.push(added);
    this.changed({ kind: 'made', point: added, at: now });
    this.apply(now);
  }

  /** @returns whether the backup is possible */
  backUp({ backup_id, requested, repository_id, policy_version, max_chain_length, sizes }: NextBackup, now: number): boolean {
    this.advance(now);
    const head = this.standing.findLast((point) => point.repository_id === repository_id);
    const type = this.rules.typeOfNext(requested, this.chainOf(head), sizes.incremental_bytes !== null, max_chain_length);
    if (type === null) return false;
    const incremental = type === 'incremental' && head !== undefined;
    this.add(
      {
        backup_id,
        at: now,
        good: true,
        tiers: [],
        policy_version,
        locked_until: null,
        protections: [],
        made_by_policy: true,
        repository_id,
        chain_id: incremental ? head.chain_id : backup_id,
        parent_backup_id: incremental ? head.backup_id : null,
        bytes: incremental ? (sizes.incremental_bytes ?? sizes.full_bytes) : sizes.full_bytes,
        expiry: null,
      },
      now,
    );
    return true;
  }

  private chainOf(head: TimelinePoint | undefined): ChainOutline | null {
    if (head === undefined) return null;
    const chain = this.standing.filter(({ chain_id }) => chain_id === head.chain_id);
    return { backup_id: head.backup_id, chain_id: head.chain_id, length: chain.length, damaged: chain.some(({ good }) => !good) };
  }

  /** @param timeAlone nothing but time has passed since the last time */
  private apply(now: number, timeAlone = false): void {
    if (this.nothingExpires && this.hasSettled) {
      this.wake = null;
      return;
    }
    this.hasSettled = true;
    // Time alone lets nothing expire, except where a restore point was dated in the future.
    const asBefore = timeAlone && this.oneRule && this.known !== null && !this.standing.some(({ at }) => at === now);
    let expired = asBefore && this.known !== null ? this.known : this.record(now);
    // Under one rule for all, neither a recorded tier nor a removal changes anything for the others.
    while (expired.news && !this.oneRule) expired = this.record(now);
    const due = this.standing.filter(({ backup_id, expiry }) => expiry !== null && expiry.grace_until <= now && expired.ids.has(backup_id));
    this.known = { ...expired, news: false };
    const before = this.standing.length;
    if (due.length > 0) {
      const removable = new Set(due.map(({ backup_id }) => backup_id));
      // What stands on a restore point is of the same chain.
      const chains = new Set(due.map(({ chain_id }) => chain_id));
      const concerned = this.standing.filter(({ chain_id }) => chains.has(chain_id));
      const { remove, waiting } = planRemovals(
        concerned.map(({ backup_id, parent_backup_id }) => ({ backup_id, parent_backup_id, removable: removable.has(backup_id) })),
      );
      this.remove(new Set(remove), now);
      if (waiting.length > 0 && (this.oneRule || remove.length === 0)) this.prune(new Set(waiting), now);
    }
    if (!this.oneRule && this.standing.length < before) this.apply(now);
    else this.wake = this.nextAfter(now);
  }

  /** @returns what expires, and whether anything was news */
  private record(now: number): Expired {
    const { policy_id, versions, time_zone, calendar } = this.rules;
    const own = this.standing.filter(({ made_by_policy }) => made_by_policy);
    this.rules.judged(own.length);
    const ids = expiringOf(own, versions, now, calendar);
    // Under one rule for all, a period whose tier is not recorded has the holder that would be recorded.
    const tiers = this.oneRule ? NO_TIERS : tiersOf(own, time_zone, now, calendar);
    // Only these can be news.
    const asked = own.filter(({ backup_id, expiry }) => ids.has(backup_id) !== (expiry !== null) || tiers.has(backup_id));
    const verdicts = asked.map(({ backup_id }) => ({ backup_id, decision: ids.has(backup_id) ? ('expire' as const) : ('keep' as const), reasons: [] }));
    const findings = findingsOf(asked, verdicts, { policy_id, versions, zone: time_zone, tiers });
    if (findings.length > 0) {
      for (const [backupId, finding] of findings) {
        const index = this.standing.findIndex(({ backup_id }) => backup_id === backupId);
        const point = this.standing[index];
        if (point === undefined) continue;
        switch (finding.kind) {
          case 'assign_tiers':
            this.standing[index] = { ...point, tiers: [...point.tiers, ...finding.tiers] };
            break;
          case 'expire':
            this.standing[index] = { ...point, expiry: { grace_until: now + this.rules.grace_ms } };
            this.changed({ kind: 'expired', point, at: now });
            break;
          case 'withdraw_expiry':
            this.standing[index] = { ...point, expiry: null };
            this.changed({ kind: 'kept_again', point, at: now });
            break;
          case 'defer_removal':
            break;
        }
      }
    }
    return { ids, news: findings.length > 0 };
  }

  private remove(ids: ReadonlySet<string>, now: number): void {
    if (ids.size === 0) return;
    for (const point of this.standing) if (ids.has(point.backup_id)) this.changed({ kind: 'removed', point, at: now });
    this.standing = this.standing.filter(({ backup_id }) => !ids.has(backup_id));
  }

  private prune(waiting: ReadonlySet<string>, now: number): void {
    const chains = new Map<string, TimelinePoint[]>();
    for (const point of this.standing) if (waiting.has(point.backup_id)) chains.set(point.chain_id, []);
    for (const point of this.standing) chains.get(point.chain_id)?.push(point);
    const planned = [...chains].map(([chain_id, points]) => ({ points, ...this.plan(chain_id, points, waiting) }));
    const worthwhile = new Set(worthwhilePrunings(planned));
    for (const { points, steps, ...all } of planned) {
      const drops = steps.filter(({ kind }) => kind === 'drop');
      const wanted = drops.filter(({ backup_id }) => worthwhile.has(backup_id));
      if (wanted.length === 0) continue;
      this.carryOut((wanted.length === drops.length ? { steps } : this.plan(all.chain_id, points, worthwhile)).steps, now);
    }
  }

  private plan(chain_id: string, points: readonly TimelinePoint[], remove: ReadonlySet<string>): ChainPruning {
    const outlined = points.map(({ backup_id, parent_backup_id, good, bytes }) => {
      return { backup_id, parent_backup_id, expired: remove.has(backup_id), rewritable: good, bytes };
    });
    return { chain_id, repository_id: points[0]?.repository_id ?? '', ...this.rules.planPruning(outlined, this.rules.shares_blocks) };
  }

  private carryOut(steps: ChainPruning['steps'], now: number): void {
    for (const { kind, backup_id, parent_backup_id, free_bytes } of steps) {
      if (kind === 'drop') continue;
      const index = this.standing.findIndex((point) => point.backup_id === backup_id);
      const point = this.standing[index];
      if (point === undefined) continue;
      this.standing[index] = { ...point, parent_backup_id, bytes: point.bytes - free_bytes };
      this.changed({ kind: 'rewritten', point, at: now, grown_bytes: -free_bytes });
    }
    this.remove(new Set(steps.flatMap(({ kind, backup_id }) => (kind === 'drop' ? [backup_id] : []))), now);
  }

  /** When the next grace period ends, or a restore point that is dated in the future counts. */
  private nextAfter(now: number): number | null {
    let next: number | null = null;
    for (const { at, expiry } of this.standing) {
      if (at > now && (next === null || at < next)) next = at;
      if (expiry !== null && expiry.grace_until > now && (next === null || expiry.grace_until < next)) next = expiry.grace_until;
    }
    return next;
  }
}
