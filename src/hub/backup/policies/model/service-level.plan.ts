import { type CoveringPolicy, type ProtectedVm, protectionsOf } from './protection.plan.js';

/** From `from` up to but without `until`. */
export interface Span {
  readonly from: string;
  readonly until: string;
}

/** What a VM was from an instant on; null: it was removed. */
export interface VmChange {
  readonly at: string;
  readonly vm: Omit<ProtectedVm, 'newest'> | null;
}

/** The policies in force from an instant on, oldest first. */
export interface PoliciesChange {
  readonly at: string;
  readonly policies: readonly CoveringPolicy[];
}

/** A restore point, from its completion until it was deleted or found damaged; null: it is still good. */
export interface GoodPoint {
  readonly instant: string;
  readonly completed_at: string;
  readonly gone_at: string | null;
}

/** A breach of the RPO as it was recorded; null: it goes on. */
export interface Breach {
  readonly broken_at: string;
  readonly restored_at: string | null;
}

/** A run of a schedule that did not start. */
export interface UnstartedRun {
  readonly due_at: string;
  readonly outcome: 'skipped' | 'missed';
}

/** The backups of a VM in runs that started. */
export interface StartedRuns {
  readonly made: number;
  /** Of those made: in a run that was caught up, or not in the first attempt. */
  readonly late: number;
  readonly failed: number;
  readonly unfinished: number;
}

export interface VmRecord {
  /** In order; the first is the registration, or how the VM was when the period began. */
  readonly changes: readonly VmChange[];
  readonly points: readonly GoodPoint[];
  readonly breaches: readonly Breach[];
  readonly started: StartedRuns;
}

/** What was promised for a VM in a period, and what was kept. */
export interface ServiceLevel extends StartedRuns {
  readonly vm_id: string;
  readonly vm_name: string;
  /** Names of the policies with the versions that covered the VM. */
  readonly policies: string | null;
  /** The strictest RPO that was in force. */
  readonly rpo_seconds: number | null;
  readonly promised_seconds: number;
  readonly broken_seconds: number;
  readonly breaches: number;
  /** The greatest age that the newest good restore point reached; without one, since the VM was registered. */
  readonly worst_gap_seconds: number;
  readonly expected: number;
  readonly skipped: number;
  readonly missed: number;
}

export const NO_RUNS: StartedRuns = { made: 0, late: 0, failed: 0, unfinished: 0 };

interface Segment extends Span {
  readonly policies: readonly CoveringPolicy[];
  readonly rpo_seconds: number | null;
}

/**
 * The service level of one VM, by the policies in force at each moment: a later edit does not change the past.
 * @param policies in order @param unstarted by policy @returns null if there was no such VM in the period
 */
export function serviceLevelOf(
  { changes, points, breaches, started }: VmRecord,
  policies: readonly PoliciesChange[],
  unstarted: ReadonlyMap<string, readonly UnstartedRun[]>,
  period: Span,
): ServiceLevel | null {
  const lives = livesOf(changes, period);
  const [first] = lives;
  const last = lives.at(-1);
  if (first === undefined || last === undefined) return null;
  const segments = lives.flatMap((life) => segmentsOf(life, policies));
  const promised = segments.filter(({ rpo_seconds }) => rpo_seconds !== null);
  const broken = breaches.map(({ broken_at, restored_at }) => ({ from: broken_at, until: restored_at ?? period.until }));
  const overlaps = broken.map((breach) => promised.reduce((ms, segment) => ms + commonMs(breach, segment), 0));
  const notStarted = segments.flatMap(({ from, until, policies: own }) =>
    own.flatMap(({ policy_id }) => (unstarted.get(policy_id) ?? []).filter(({ due_at }) => from <= due_at && due_at < until)),
  );
  const skipped = notStarted.filter(({ outcome }) => outcome === 'skipped').length;
  const missed = notStarted.length - skipped;
  const rpos = promised.flatMap(({ rpo_seconds }) => (rpo_seconds === null ? [] : [rpo_seconds]));
  return {
    vm_id: last.vm.vm_id,
    vm_name: last.vm.name,
    policies: namesOf(segments),
    rpo_seconds: rpos.length === 0 ? null : Math.min(...rpos),
    promised_seconds: seconds(promised.reduce((ms, segment) => ms + commonMs(segment, segment), 0)),
    broken_seconds: Math.ceil(overlaps.reduce((sum, ms) => sum + ms, 0) / 1000),
    breaches: overlaps.filter((ms) => ms > 0).length,
    worst_gap_seconds: seconds(worstGapMs(points, first.vm.registered_at, { from: first.from, until: last.until })),
    expected: started.made + started.failed + started.unfinished + notStarted.length,
    ...started,
    skipped,
    missed,
  };
}

interface Life extends Span {
  readonly vm: Omit<ProtectedVm, 'newest'>;
}

/** The times within the period in which the VM was as it was. */
function livesOf(changes: readonly VmChange[], { from, until }: Span): readonly Life[] {
  return changes.flatMap(({ at, vm }, index) => {
    const life = { from: later(at, from), until: earlier(changes[index + 1]?.at ?? until, until) };
    return vm === null || life.from >= life.until ? [] : [{ ...life, vm }];
  });
}

/** The times in which the same policies covered a VM: they end with an edit, and with an opt-out. */
function segmentsOf({ vm, ...life }: Life, policies: readonly PoliciesChange[]): readonly Segment[] {
  return policies.flatMap((change, index) => {
    const span = { from: later(change.at, life.from), until: earlier(policies[index + 1]?.at ?? life.until, life.until) };
    if (span.from >= span.until) return [];
    const ends = change.policies.flatMap(({ settings }) =>
      settings.opt_outs.flatMap((one) => (one.vm_id === vm.vm_id && one.until !== null && span.from < one.until && one.until < span.until ? [one.until] : [])),
    );
    const begins = [span.from, ...new Set(ends.sort())];
    return begins.map((from, place): Segment => {
      const [found] = protectionsOf([{ ...vm, newest: null }], change.policies, from);
      return { from, until: begins[place + 1] ?? span.until, policies: found?.policies ?? [], rpo_seconds: found?.promise?.rpo_seconds ?? null };
    });
  });
}

/** The newest good restore point is oldest just before the next one is completed, and at the end. */
function worstGapMs(points: readonly GoodPoint[], registered_at: string, { from, until }: Span): number {
  const inOrder = points.toSorted((a, b) => (a.completed_at < b.completed_at ? -1 : 1));
  let worst = 0;
  for (const [index, { completed_at }] of [...inOrder, { completed_at: until }].entries()) {
    if (completed_at <= from) continue;
    const at = earlier(completed_at, until);
    worst = Math.max(worst, Date.parse(at) - Date.parse(newestInstant(inOrder, index, at) ?? registered_at));
    if (at === until) break;
  }
  return worst;
}

/** Of those before `index`, the newest that was good until `at`. */
function newestInstant(inOrder: readonly GoodPoint[], index: number, at: string): string | null {
  let newest: string | null = null;
  for (let place = index - 1; place >= 0; place -= 1) {
    const point = inOrder[place];
    // No restore point is newer than its completion.
    if (point === undefined || (newest !== null && point.completed_at <= newest)) break;
    if ((point.gone_at === null || point.gone_at >= at) && (newest === null || point.instant > newest)) newest = point.instant;
  }
  return newest;
}

function namesOf(segments: readonly Segment[]): string | null {
  const versions = new Map<string, { name: string; readonly numbers: Set<number> }>();
  for (const { policy_id, version, settings } of segments.flatMap(({ policies }) => policies)) {
    const known = versions.get(policy_id) ?? { name: settings.name, numbers: new Set<number>() };
    known.name = settings.name;
    known.numbers.add(version);
    versions.set(policy_id, known);
  }
  return versions.size === 0 ? null : [...versions.values()].map(({ name, numbers }) => `${name} (version ${[...numbers].join(', ')})`).join('; ');
}

function commonMs(a: Span, b: Span): number {
  return Math.max(0, Date.parse(earlier(a.until, b.until)) - Date.parse(later(a.from, b.from)));
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function earlier(a: string, b: string): string {
  return a < b ? a : b;
}

function later(a: string, b: string): string {
  return a > b ? a : b;
}
