import type { ActivePolicy } from '../model/policy.state.js';
import { type CoveringPolicy, type ProtectedVm, protectionsOf } from '../model/protection.plan.js';
import { periodName, periodOf } from '../model/retention-periods.plan.js';
import { decideRetention, type KeepReason } from '../model/retention.plan.js';
import type { PlannedRun } from './planned-runs.plan.js';
import { type TimelinePoint, type TimelineRules, VmTimeline } from './vm-timeline.plan.js';

/** So many runs and VMs are named. */
const MOST_NAMED = 100;

/** What is known of a VM. */
export interface VmHistory {
  readonly vm: Omit<ProtectedVm, 'newest'>;
  /** Of its restore points in the policy's repository; null: no full is known. */
  readonly sizes: { readonly full_bytes: number; readonly incremental_bytes: number | null } | null;
  /** Of the VM that exist now, in all repositories, in the order in which their backups were requested. */
  readonly points: readonly TimelinePoint[];
  readonly newest: ProtectedVm['newest'];
}

export interface ForecastQuestion {
  readonly policy: ActivePolicy;
  /** ISO 8601, UTC. */
  readonly from: string;
  readonly until: string;
  readonly max_chain_length: number;
  /** null: the repository cannot be reached. */
  readonly free_bytes: number | null;
  readonly rules: TimelineRules;
}

export interface Capped<T> {
  readonly count: number;
  /** The first of them. */
  readonly first: readonly T[];
}

export interface ForecastDay {
  readonly day: string;
  readonly made: number;
  readonly expired: number;
  readonly removed: number;
  readonly points: number;
  readonly bytes: number;
}

type VmName = { readonly vm_id: string; readonly vm_name: string };

export interface RpoGap extends VmName {
  readonly worst_gap_seconds: number;
  readonly gap_from: string;
  readonly gap_until: string;
}

export interface ForecastResult {
  readonly vms: { readonly selected: number; readonly without_history: Capped<VmName>; readonly only_fulls: Capped<VmName> };
  readonly runs: {
    readonly expected: number;
    readonly on_time: number;
    readonly moved: number;
    readonly skipped: number;
    readonly by_reason: readonly { readonly reason: string; readonly runs: number }[];
    readonly not_on_time: Capped<Omit<PlannedRun, 'starts' | 'outside_window'>>;
    readonly starts_outside_window: number;
    readonly refused_backups: number;
  };
  readonly full_on: string | null;
  readonly rpo: { readonly rpo_seconds: number; readonly violations: Capped<RpoGap> } | null;
  readonly greatest: { readonly points: number; readonly bytes: number };
  readonly kept_by: readonly { readonly rule: KeepReason['rule']; readonly points: number }[];
  readonly days: readonly ForecastDay[];
}

type Column = 'made' | 'expired' | 'removed' | 'points' | 'bytes' | 'in_repository';

/** Adds up what becomes of a policy: first its runs, then VM by VM, so that only one VM is in memory at a time. */
export class Forecast {
  private readonly columns: Readonly<Record<Column, Float64Array>>;
  private readonly firstDay: number;
  private readonly startsOf = new Map<string, number[]>();
  private readonly selected = new Set<string>();
  private readonly byReason = new Map<string, number>();
  private readonly counts = { expected: 0, on_time: 0, moved: 0, skipped: 0 };
  private readonly notOnTime = new Gathered<Omit<PlannedRun, 'starts' | 'outside_window'>>();
  private readonly withoutHistory = new Gathered<VmName>();
  private readonly onlyFulls = new Gathered<VmName>();
  private readonly gaps: RpoGap[] = [];
  private readonly keptBy = new Map<KeepReason['rule'], number>();
  private outsideWindow = 0;
  private refused = 0;
  private readonly fromMs: number;
  private readonly untilMs: number;

  constructor(private readonly question: ForecastQuestion) {
    this.fromMs = Date.parse(question.from);
    this.untilMs = Date.parse(question.until);
    this.firstDay = this.dayOf(this.fromMs);
    const days = this.dayOf(this.untilMs) - this.firstDay + 1;
    const column = (): Float64Array => new Float64Array(days);
    this.columns = { made: column(), expired: column(), removed: column(), points: column(), bytes: column(), in_repository: column() };
  }

  select(vmIds: readonly string[]): void {
    for (const vmId of vmIds) this.selected.add(vmId);
  }

  /** The VMs that are selected at some time. */
  vmIds(): Iterable<string> {
    return this.selected;
  }

  addRun({ starts, outside_window, ...run }: PlannedRun): void {
    this.counts.expected += 1;
    this.counts[run.outcome] += 1;
    if (run.outcome !== 'on_time') this.notOnTime.add(run);
    if (run.reason !== null) this.byReason.set(run.reason, (this.byReason.get(run.reason) ?? 0) + 1);
    this.outsideWindow += outside_window;
    for (const { vm_id, start_at } of starts) {
      this.selected.add(vm_id);
      const at = Date.parse(start_at);
      if (at > this.untilMs) continue;
      const own = this.startsOf.get(vm_id);
      if (own === undefined) this.startsOf.set(vm_id, [at]);
      else own.push(at);
    }
  }

  addVm({ vm, sizes, points, newest }: VmHistory): void {
    const { policy, rules, max_chain_length } = this.question;
    const { policy_id, version, settings } = policy;
    const name = { vm_id: vm.vm_id, vm_name: vm.name };
    const isSelected = this.selected.has(vm.vm_id);
    if (isSelected && sizes === null) this.withoutHistory.add(name);
    if (isSelected && sizes !== null && sizes.incremental_bytes === null) this.onlyFulls.add(name);
    const starts = sizes === null ? [] : (this.startsOf.get(vm.vm_id) ?? []);
    this.startsOf.delete(vm.vm_id);
    const own = points.filter(({ made_by_policy }) => made_by_policy);
    this.plus('points', 0, own.length);
    this.plus(
      'bytes',
      0,
      own.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    const timeline = new VmTimeline(points, rules, (change) => {
      const day = this.dayOf(change.at) - this.firstDay;
      switch (change.kind) {
        case 'made':
          this.plus('made', day, 1);
          this.count(change.point, day, 1);
          break;
        case 'expired':
          this.plus('expired', day, 1);
          break;
        case 'kept_again':
          break;
        case 'removed':
          this.plus('removed', day, 1);
          this.count(change.point, day, -1);
          break;
        case 'rewritten':
          this.grow(change.point, day, change.grown_bytes);
      }
    });
    timeline.settle(this.fromMs);
    let [last, worst] = [newest === null ? null : Date.parse(newest.instant), null as Gap | null];
    for (const at of starts) {
      if (sizes === null) break;
      const { repository_id, backup_type: requested } = settings;
      const next = { backup_id: `${policy_id}/${at}`, requested, repository_id, policy_version: version, max_chain_length, sizes };
      if (!timeline.backUp(next, at)) {
        this.refused += 1;
        continue;
      }
      worst = worse(worst, last, at);
      last = at;
    }
    timeline.advance(this.untilMs);
    if (isSelected && sizes !== null) this.judgeRpo(vm, worse(worst, last, this.untilMs));
    this.countKept(timeline.points);
  }

  result(): ForecastResult {
    const { settings } = this.question.policy;
    const rpo_seconds = settings.rpo_seconds ?? null;
    const days = [...this.days()];
    const gaps = [...this.gaps].sort((a, b) => b.worst_gap_seconds - a.worst_gap_seconds || (a.vm_name < b.vm_name ? -1 : 1));
    return {
      vms: { selected: this.selected.size, without_history: this.withoutHistory.all(), only_fulls: this.onlyFulls.all() },
      runs: {
        ...this.counts,
        by_reason: [...this.byReason].map(([reason, runs]) => ({ reason, runs })),
        not_on_time: this.notOnTime.all(),
        starts_outside_window: this.outsideWindow,
        refused_backups: this.refused,
      },
      full_on: this.fullOn(),
      rpo: rpo_seconds === null ? null : { rpo_seconds, violations: { count: gaps.length, first: gaps.slice(0, MOST_NAMED) } },
      greatest: { points: Math.max(...days.map(({ points }) => points)), bytes: Math.max(...days.map(({ bytes }) => bytes)) },
      kept_by: [...this.keptBy].map(([rule, points]) => ({ rule, points })).sort((a, b) => b.points - a.points),
      days,
    };
  }

  private *days(): Generator<ForecastDay> {
    let [points, bytes] = [0, 0];
    for (const [index, made] of this.columns.made.entries()) {
      points += this.columns.points[index] ?? 0;
      bytes += this.columns.bytes[index] ?? 0;
      const [expired = 0, removed = 0] = [this.columns.expired[index], this.columns.removed[index]];
      yield { day: this.nameOf(index), made, expired, removed, points, bytes };
    }
  }

  /** The first day at whose end more bytes have been added than are free now. */
  private fullOn(): string | null {
    const { free_bytes } = this.question;
    if (free_bytes === null) return null;
    let grown = 0;
    for (const [index, change] of this.columns.in_repository.entries()) {
      grown += change;
      if (grown > free_bytes) return this.nameOf(index);
    }
    return null;
  }

  private nameOf(index: number): string {
    return periodName('daily', this.firstDay + index);
  }

  private dayOf(at: number): number {
    const { calendar, time_zone } = this.question.rules;
    return periodOf('daily', calendar.wallOf(at, time_zone));
  }

  private count(point: TimelinePoint, day: number, sign: 1 | -1): void {
    if (point.made_by_policy) this.plus('points', day, sign);
    this.grow(point, day, sign * point.bytes);
  }

  private grow({ made_by_policy, repository_id }: TimelinePoint, day: number, bytes: number): void {
    if (made_by_policy) this.plus('bytes', day, bytes);
    if (repository_id === this.question.policy.settings.repository_id) this.plus('in_repository', day, bytes);
  }

  private plus(column: Column, day: number, amount: number): void {
    const values = this.columns[column];
    values[day] = (values[day] ?? 0) + amount;
  }

  /** The worst gap of a VM is judged as the hub judges its newest restore point at the end of the gap. */
  private judgeRpo(vm: VmHistory['vm'], gap: Gap | null): void {
    const { policy_id, version, settings } = this.question.policy;
    if (gap === null) return;
    const [gap_from, gap_until] = [new Date(gap.from).toISOString(), new Date(gap.until).toISOString()];
    const newest = { backup_id: '', instant: gap_from, completed_at: gap_from };
    const policy: CoveringPolicy = { policy_id, version, settings, edited_at: this.question.from };
    const [protection] = protectionsOf([{ ...vm, newest }], [policy], gap_until);
    if (protection?.status !== 'broken') return;
    const worst_gap_seconds = Math.floor((gap.until - gap.from) / 1000);
    this.gaps.push({ vm_id: vm.vm_id, vm_name: vm.name, worst_gap_seconds, gap_from, gap_until });
  }

  private countKept(points: readonly TimelinePoint[]): void {
    const { versions, calendar } = this.question.rules;
    const own = points.filter(({ made_by_policy }) => made_by_policy);
    for (const verdict of decideRetention(own, versions, this.untilMs, calendar)) {
      if (verdict.decision === 'expire') continue;
      for (const { rule } of verdict.reasons) this.keptBy.set(rule, (this.keptBy.get(rule) ?? 0) + 1);
    }
  }
}

type Gap = { readonly from: number; readonly until: number };

function worse(worst: Gap | null, from: number | null, until: number): Gap | null {
  if (from === null) return worst;
  return worst === null || until - from > worst.until - worst.from ? { from, until } : worst;
}

class Gathered<T> {
  private count = 0;
  private readonly first: T[] = [];

  add(one: T): void {
    this.count += 1;
    if (this.first.length < MOST_NAMED) this.first.push(one);
  }

  all(): Capped<T> {
    return { count: this.count, first: this.first };
  }
}
