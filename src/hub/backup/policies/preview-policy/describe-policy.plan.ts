import type { CopyRetention, CopyRule, PolicySettings, Retention, StartWindow, VerificationRules } from '../model/policy.events.js';

const UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
] as const;

/** What the policy does, and what it keeps. @param repository its name; null: it was deleted */
export function describePolicy(settings: PolicySettings, { vms, repository }: { readonly vms: number; readonly repository: string | null }): string {
  const {
    enabled,
    schedule,
    time_zone,
    spread_seconds,
    start_window,
    blackouts,
    blackout_ids = [],
    catch_up,
    backup_type,
    rpo_seconds,
    run_within,
    concurrency_timeout_seconds,
  } = settings;
  const type = backup_type === 'auto' ? '' : ` with ${backup_type === 'full' ? 'a full backup' : 'an incremental'} each time`;
  const parts = [
    `${enabled ? 'Backs up' : 'Is disabled, and would back up'} ${count(vms, 'VM')} into ${repository === null ? 'a deleted repository' : `repository "${repository}"`}${type}: ${schedule} (${time_zone})`,
    ...(spread_seconds === 0 ? [] : [`spread over ${spread_seconds} s`]),
    ...(start_window === null ? [] : [`starting only ${windowText(start_window)}`]),
    ...(blackouts.length + blackout_ids.length === 0 ? [] : [`except in ${count(blackouts.length + blackout_ids.length, 'blackout')}`]),
    ...(run_within === 'cancel' ? ['cancelling backups that still run when they may not start any more'] : []),
    ...(concurrency_timeout_seconds === undefined || concurrency_timeout_seconds === null
      ? []
      : [`cancelling backups that wait in the queue for ${durationText(concurrency_timeout_seconds)}`]),
    catch_up === 'latest' ? 'catching up the newest missed run within 12 hours' : 'without catching up missed runs',
    ...(rpo_seconds === undefined || rpo_seconds === null ? [] : [`with a newest restore point at most ${durationText(rpo_seconds)} old`]),
  ];
  return [
    `${parts.join(', ')}.`,
    ...checksText(settings.verification ?? null),
    ...copiesText(settings.copies ?? []),
    retentionText(settings.retention ?? null),
  ].join(' ');
}

function checksText(verification: VerificationRules | null): readonly string[] {
  if (verification === null) return [];
  const { every_nth, boot_every_days } = verification;
  const done = [
    ...(every_nth === null
      ? []
      : [every_nth === 1 ? 'verifies each restore point' : `verifies the first restore point and one of every ${every_nth} after it`]),
    ...(boot_every_days === null ? [] : [`boots one every ${count(boot_every_days, 'day')}`]),
  ];
  return [`Of each VM it ${list(done)}.`];
}

const PERIOD_NAMES = { daily: 'day', weekly: 'ISO week', monthly: 'month', yearly: 'year' } as const;

function copiesText(copies: readonly CopyRule[]): readonly string[] {
  return copies.map(({ which, with_parents, retention = null }) => {
    const points = which === 'every' ? 'every restore point' : `the first restore point of each ${PERIOD_NAMES[which]}`;
    const kept = retention === null ? '' : ` Of these copies of each VM it keeps ${keptText(retention)}; others expire.`;
    return `Copies ${points} into another repository, ${with_parents ? 'with those it depends on' : 'flattened into a full'}.${kept}`;
  });
}

function retentionText(retention: Retention | null): string {
  if (retention === null) return 'Keeps every restore point.';
  const older = retention.applies_to === 'all' ? '' : ' Restore points made under earlier versions keep following the rules that they followed.';
  return `Of each VM it keeps ${keptText(retention)}; others expire.${older}`;
}

function keptText({ keep_last, keep_within, keep_daily, keep_weekly, keep_monthly, keep_yearly }: CopyRetention): string {
  const periods = (
    [
      [keep_daily, 'day'],
      [keep_weekly, 'ISO week'],
      [keep_monthly, 'month'],
      [keep_yearly, 'year'],
    ] as const
  ).flatMap(([number, noun]) => (number === null ? [] : [count(number, noun)]));
  const kept = [
    ...(keep_last === null ? [] : [keep_last === 1 ? 'the newest restore point' : `the newest ${keep_last} restore points`]),
    ...(keep_within === null ? [] : [`those at most ${keep_within} older than the newest`]),
    ...(periods.length === 0 ? [] : [`the first of each of the newest ${list(periods)} that have any`]),
  ];
  return list(kept);
}

function list(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1) ?? ''}`;
}

function windowText({ from, until, days }: StartWindow): string {
  return `from ${from} to ${until}${days.length === 0 ? '' : ` on ${days.join(', ')}`}`;
}

/** In the largest unit that divides it. */
function durationText(seconds: number): string {
  const [size, unit] = UNITS.find(([divisor]) => seconds % divisor === 0) ?? [1, 's'];
  return `${seconds / size} ${unit}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
