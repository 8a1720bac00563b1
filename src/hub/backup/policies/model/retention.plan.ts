import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import type { Tier } from '../../backups/model/backup.events.js';
import type { PolicySettings, Retention } from './policy.events.js';
import { durationMs, periodName, periodOf, TIERS } from './retention-periods.plan.js';
import { wallClockOf } from './time-zone.plan.js';

/** A restore point of one VM that a policy has made and that has not been removed. */
export type RetentionPoint = {
  readonly backup_id: string;
  /** The instant common to its disks, in milliseconds since 1970. */
  readonly at: number;
  /** No damage is known. */
  readonly good: boolean;
  /** As recorded. A period that no restore point was recorded for belongs to its first good one. */
  readonly tiers: readonly Tier[];
  /** The version of the policy that it was made under; null: not recorded, as by early hubs. */
  readonly policy_version: number | null;
  /** In milliseconds since 1970; null: not locked. */
  readonly locked_until: number | null;
  readonly protections: readonly Protection[];
};

/** What keeps a restore point whatever the rules say. */
export type Protection = 'pinned' | 'held' | 'awaited_by_copy' | 'in_use';

export type RetentionRule = Exclude<keyof Retention, 'applies_to'>;

/** What keeps a restore point. These words are part of the API and stable. */
export type KeepReason = {
  /** `no_good_point`: no restore point of the VM is good. `no_retention`: the rules that it follows let nothing expire. */
  readonly rule: RetentionRule | Protection | 'locked' | 'in_future' | 'last_good' | 'no_good_point' | 'no_retention';
  readonly outcome: 'keeps';
  /** Such as `2026-11-24` or `2026-W48`; null: it has nothing to do with a period. */
  readonly period: string | null;
};
export type RetentionReason = KeepReason | ExpiryReason;

/** Of a kept restore point all that keeps it; of an expired one, for each rule why it does not. */
export type RetentionVerdict = { readonly backup_id: string } & (
  { readonly decision: 'keep'; readonly reasons: readonly KeepReason[] } | { readonly decision: 'expire'; readonly reasons: readonly ExpiryReason[] }
);

/** The rules of one version of a policy, and the zone in which they are read. */
export type RetentionVersion = { readonly version: number; readonly time_zone: string; readonly retention: Retention | null };

const TIER_OF = { keep_daily: 'daily', keep_weekly: 'weekly', keep_monthly: 'monthly', keep_yearly: 'yearly' } as const satisfies Partial<
  Record<RetentionRule, Tier>
>;
const TIER_RULES = ['keep_daily', 'keep_weekly', 'keep_monthly', 'keep_yearly'] as const;

/** Wall times and names of periods. It keeps what it has looked up, so one serves many decisions. */
export class RetentionCalendar {
  private readonly clocks = new Map<string, (instantMs: number) => number>();
  private readonly names: Readonly<Record<Tier, Map<number, string>>> = { daily: new Map(), weekly: new Map(), monthly: new Map(), yearly: new Map() };

  wallOf(instantMs: number, zone: string): number {
    let clock = this.clocks.get(zone);
    if (clock === undefined) this.clocks.set(zone, (clock = wallClockOf(zone)));
    return clock(instantMs);
  }

  nameOf(tier: Tier, period: number): string {
    let name = this.names[tier].get(period);
    if (name === undefined) this.names[tier].set(period, (name = periodName(tier, period)));
    return name;
  }
}

export function retentionVersion(version: number, { time_zone, retention }: Pick<PolicySettings, 'time_zone' | 'retention'>): RetentionVersion {
  return { version, time_zone, retention: retention ?? null };
}

/** The rules that a restore point of a version follows: those of its own, or of the last later one that applies to all. */
export function rulesFollowed(madeUnder: number | null, versions: readonly RetentionVersion[]): RetentionVersion | null {
  const own = madeUnder ?? versions[0]?.version ?? 0;
  return versions.reduce<RetentionVersion | null>((followed, one) => {
    const follows = one.version === own || (one.version > own && one.retention?.applies_to !== 'new');
    return follows ? one : followed;
  }, null);
}

/**
 * Decides for all restore points that a policy has made of one VM, in their order.
 * @param versions of the policy, oldest first; none: the policy was deleted, and keeps all
 */
export function decideRetention(
  points: readonly RetentionPoint[],
  versions: readonly RetentionVersion[],
  now: number,
  calendar: RetentionCalendar = new RetentionCalendar(),
): readonly RetentionVerdict[] {
  const deciderOf = decidersBy(points, versions, now, calendar);
  return points.map((point) => {
    const reasons = deciderOf(point).reasonsOf(point);
    const { backup_id } = point;
    const kept = reasons.filter((reason) => reason.outcome === 'keeps');
    if (kept.length > 0) return { backup_id, decision: 'keep', reasons: kept };
    return { backup_id, decision: 'expire', reasons: reasons.filter((reason) => reason.outcome !== 'keeps') };
  });
}

/** As `decideRetention`, without the reasons, which take most of its time: the restore points that expire. */
export function expiringOf(
  points: readonly RetentionPoint[],
  versions: readonly RetentionVersion[],
  now: number,
  calendar: RetentionCalendar = new RetentionCalendar(),
): ReadonlySet<string> {
  const deciderOf = decidersBy(points, versions, now, calendar);
  const expiring = new Set<string>();
  for (const decider of new Set(points.map(deciderOf))) {
    for (const one of decider.known) if (deciderOf(one.point) === decider && decider.expires(one)) expiring.add(one.point.backup_id);
  }
  return expiring;
}

/** By restore point, the tiers that it has: each period belongs to the one recorded for it, or else to its first good one. */
export function tiersOf(
  points: readonly RetentionPoint[],
  zone: string,
  now: number,
  calendar: RetentionCalendar = new RetentionCalendar(),
): ReadonlyMap<string, readonly Tier[]> {
  const known = knownPoints(points, zone, now, calendar);
  const tiers = new Map<string, Tier[]>();
  for (const tier of TIERS) {
    for (const { backup_id } of holdersOf(tier, known.good).values()) tiers.set(backup_id, [...(tiers.get(backup_id) ?? []), tier]);
  }
  return tiers;
}

type KnownPoint = { readonly point: RetentionPoint; readonly wall: number };

/** What rules may count: not what lies in the future. Oldest first. */
function knownPoints(
  points: readonly RetentionPoint[],
  zone: string,
  now: number,
  calendar: RetentionCalendar,
): { readonly good: readonly KnownPoint[]; readonly damaged: readonly KnownPoint[] } {
  const known = points
    .filter(({ at }) => at <= now)
    .map((point): KnownPoint => ({ point, wall: calendar.wallOf(point.at, zone) }))
    .sort((a, b) => a.point.at - b.point.at || (a.point.backup_id < b.point.backup_id ? -1 : 1));
  return { good: known.filter(({ point }) => point.good), damaged: known.filter(({ point }) => !point.good) };
}

/** By period, the restore point that is its daily, weekly, monthly or yearly. */
function holdersOf(tier: Tier, sorted: readonly KnownPoint[]): Map<number, RetentionPoint> {
  const holders = new Map<number, RetentionPoint>();
  for (const { point, wall } of sorted) {
    const period = periodOf(tier, wall);
    const holder = holders.get(period);
    if (holder === undefined || (point.tiers.includes(tier) && !holder.tiers.includes(tier))) holders.set(period, point);
  }
  return holders;
}

interface Decider {
  readonly reasonsOf: (point: RetentionPoint) => readonly RetentionReason[];
  /** What does not lie in the future: nothing else can expire. */
  readonly known: readonly KnownPoint[];
  readonly expires: (known: KnownPoint) => boolean;
}

/** The decider for each restore point, by the rules that it follows. */
function decidersBy(
  points: readonly RetentionPoint[],
  versions: readonly RetentionVersion[],
  now: number,
  calendar: RetentionCalendar,
): (point: RetentionPoint) => Decider {
  const followed = new Map<number | null, RetentionVersion | null>();
  const deciders = new Map<RetentionVersion | null, Decider>();
  return ({ policy_version }) => {
    let rules = followed.get(policy_version);
    if (rules === undefined) followed.set(policy_version, (rules = rulesFollowed(policy_version, versions)));
    let found = deciders.get(rules);
    if (found === undefined) deciders.set(rules, (found = decider(points, rules, now, calendar)));
    return found;
  };
}

function decider(points: readonly RetentionPoint[], rules: RetentionVersion | null, now: number, calendar: RetentionCalendar): Decider {
  const { good, damaged } = knownPoints(points, rules?.time_zone ?? 'UTC', now, calendar);
  const newest = good.at(-1)?.point;
  const retention = rules?.retention ?? null;
  const judges = retention === null ? [] : judgesOf(good, damaged, retention, calendar);
  const known = damaged.length === 0 ? good : [...good, ...damaged];
  let byPoint: ReadonlyMap<RetentionPoint, KnownPoint> | null = null;
  /** What keeps it whatever the rules say. */
  const keptAnywayBy = (point: RetentionPoint): readonly KeepReason['rule'][] => {
    const by: KeepReason['rule'][] = [...point.protections];
    if (point.locked_until !== null && point.locked_until > now) by.push('locked');
    if (retention === null) by.push('no_retention');
    if (point.at > now) return [...by, 'in_future'];
    if (newest === undefined) by.push('no_good_point');
    if (newest?.backup_id === point.backup_id) by.push('last_good');
    return by;
  };
  return {
    reasonsOf: (point) => {
      byPoint ??= new Map(known.map((one) => [one.point, one]));
      const one = byPoint.get(point);
      const byRules = one === undefined ? [] : judges.map(({ rule, outcomeOf, periodOf: nameOf }) => ({ rule, outcome: outcomeOf(one), period: nameOf(one) }));
      return [...keptAnywayBy(point).map(keeping), ...byRules];
    },
    known,
    expires: (one) => keptAnywayBy(one.point).length === 0 && judges.every(({ outcomeOf }) => outcomeOf(one) !== 'keeps'),
  };
}

function keeping(rule: KeepReason['rule']): KeepReason {
  return { rule, outcome: 'keeps', period: null };
}

/** What one rule says about restore points. */
interface Judge {
  readonly rule: RetentionRule;
  readonly outcomeOf: (known: KnownPoint) => RetentionReason['outcome'];
  readonly periodOf: (known: KnownPoint) => string | null;
}

/** A damaged restore point takes no place. It is kept for as long as a good one in its place would be, unless a good one has its place. */
function judgesOf(
  good: readonly KnownPoint[],
  damaged: readonly KnownPoint[],
  { keep_last, keep_within, ...tiered }: Retention,
  calendar: RetentionCalendar,
): readonly Judge[] {
  const judges: Judge[] = [];
  const withoutPeriods = (rule: RetentionRule, keeps: (known: KnownPoint) => boolean): void => {
    judges.push({ rule, outcomeOf: (known) => (keeps(known) ? 'keeps' : 'exceeded'), periodOf: () => null });
  };
  if (keep_last !== null) {
    const kept = new Set(good.slice(-keep_last));
    const first = good.length < keep_last ? -Infinity : (good.at(-keep_last)?.point.at ?? -Infinity);
    withoutPeriods('keep_last', (known) => (known.point.good ? kept.has(known) : known.point.at >= first));
  }
  if (keep_within !== null) {
    const since = (good.at(-1)?.point.at ?? Infinity) - durationMs(keep_within);
    withoutPeriods('keep_within', ({ point }) => point.at >= since);
  }
  for (const rule of TIER_RULES) {
    const count = tiered[rule];
    if (count === null) continue;
    const tier = TIER_OF[rule];
    const holders = holdersOf(tier, good);
    const standIns = holdersOf(tier, damaged);
    const newest = [...holders.keys()].sort((a, b) => b - a).slice(0, count);
    const first = newest.length < count ? -Infinity : (newest.at(-1) ?? -Infinity);
    judges.push({
      rule,
      outcomeOf: ({ point, wall }) => {
        const period = periodOf(tier, wall);
        const isFirst = (holders.get(period) ?? standIns.get(period)) === point;
        return !isFirst ? 'not_first' : period >= first ? 'keeps' : 'exceeded';
      },
      periodOf: ({ wall }) => calendar.nameOf(tier, periodOf(tier, wall)),
    });
  }
  return judges;
}

/** A restore point of a VM, whoever made it, or a backup that is about to become one. */
export type StandingPoint = { readonly backup_id: string; readonly parent_backup_id: string | null; readonly removable: boolean };

/** Which restore points can be removed, each before the one it stands on, and which removable ones wait because others stand on them. */
export function planRemovals(points: readonly StandingPoint[]): { readonly remove: readonly string[]; readonly waiting: readonly string[] } {
  const byId = new Map(points.map((point) => [point.backup_id, point]));
  const standing = new Map<string, number>();
  for (const { parent_backup_id } of points) if (parent_backup_id !== null) standing.set(parent_backup_id, (standing.get(parent_backup_id) ?? 0) + 1);
  const free = points.filter(({ backup_id, removable }) => removable && !standing.has(backup_id));
  const remove: string[] = [];
  for (let point = free.pop(); point !== undefined; point = free.pop()) {
    remove.push(point.backup_id);
    const parent = point.parent_backup_id === null ? undefined : byId.get(point.parent_backup_id);
    if (parent === undefined) continue;
    const left = (standing.get(parent.backup_id) ?? 0) - 1;
    standing.set(parent.backup_id, left);
    if (left === 0 && parent.removable) free.push(parent);
  }
  const removed = new Set(remove);
  return { remove, waiting: points.filter(({ backup_id, removable }) => removable && !removed.has(backup_id)).map(({ backup_id }) => backup_id) };
}
