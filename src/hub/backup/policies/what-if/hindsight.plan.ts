import { decideRetention, type KeepReason } from '../model/retention.plan.js';
import { type TimelinePoint, type TimelineRules, VmTimeline } from './vm-timeline.plan.js';

/** A restore point that really existed since the policy would have been in force. */
export type PastPoint = TimelinePoint & { readonly completed_at: number; readonly exists: boolean };

export type PastRestore = { readonly backup_id: string; readonly at: number };

export interface HindsightPoint {
  readonly backup_id: string;
  readonly exists: boolean;
  readonly would_exist: boolean;
  /** Empty: it would be gone, or would have expired. */
  readonly kept_by: readonly KeepReason['rule'][];
  /** In milliseconds since 1970; null: it would exist. */
  readonly gone_at: number | null;
}

/**
 * What of a VM's past would be left, had a policy been in force since an instant.
 * @param points of the VM, in the order in which they were completed; those of before `since` existed at that time
 */
export function hindsightOf(
  points: readonly PastPoint[],
  restores: readonly PastRestore[],
  rules: TimelineRules,
  since: number,
  now: number,
): { readonly points: readonly HindsightPoint[]; readonly impossible: ReadonlyMap<PastRestore, number> } {
  const goneAt = new Map<string, number>();
  const before = points.filter(({ completed_at }) => completed_at <= since);
  const timeline = new VmTimeline(before, rules, ({ kind, point, at }) => {
    if (kind === 'removed') goneAt.set(point.backup_id, at);
  });
  timeline.settle(since);
  for (const point of points) if (point.completed_at > since) timeline.add(point, point.completed_at);
  timeline.settle(now);
  const own = timeline.points.filter(({ made_by_policy }) => made_by_policy);
  const verdicts = new Map(decideRetention(own, rules.versions, now, rules.calendar).map((verdict) => [verdict.backup_id, verdict]));
  return {
    points: points
      .filter(({ made_by_policy }) => made_by_policy)
      .map(({ backup_id, exists }) => {
        const verdict = verdicts.get(backup_id);
        const kept_by = verdict?.decision === 'keep' ? verdict.reasons.map(({ rule }) => rule) : [];
        return { backup_id, exists, would_exist: verdict !== undefined, kept_by, gone_at: goneAt.get(backup_id) ?? null };
      }),
    impossible: new Map(
      restores.flatMap((restore) => {
        const gone = goneAt.get(restore.backup_id);
        return gone === undefined || gone > restore.at ? [] : [[restore, gone] as const];
      }),
    ),
  };
}
