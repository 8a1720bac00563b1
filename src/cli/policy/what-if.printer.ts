import type { PolicyWhatIf, WhatIfDay } from '../api/answers.js';
import { table } from '../api/resource.command.js';
import { bytesText } from '../../kernel/bytes-text.js';

const MOST_LINES = 20;

/** A simulation as people read it. @param everyDay a line for each day instead of each month */
export function whatIfText({ version, forward, backward }: PolicyWhatIf, everyDay: boolean): string {
  const { vms, runs, until, days, greatest } = forward;
  const column = everyDay ? 'day' : 'month';
  const rows = (everyDay ? days : byMonth(days)).map(({ day, bytes, ...row }) => ({ ...row, [column]: day, size_bytes: bytes }));
  const parts = [
    `Version ${version} until ${until.slice(0, 10)}, for ${vms.selected} VM(s). Nothing has been changed; sizes are estimates.\n`,
    named(vms.without_history, 'without a full of known size, left out'),
    named(vms.only_fulls, 'with fulls only'),
    `\n${table([column, 'made', 'expired', 'removed', 'points', 'size_bytes'], rows)}\n`,
    `Runs: ${runs.expected} expected, ${runs.on_time} on time, ${runs.moved} moved, ${runs.skipped} skipped${reasons(runs.by_reason)}.\n`,
    runs.starts_outside_window === 0 ? '' : `Backups left out, because their place in the spread is outside the start window: ${runs.starts_outside_window}.\n`,
    runs.refused_backups === 0 ? '' : `Incrementals that would not be possible: ${runs.refused_backups}.\n`,
    `At most ${greatest.points} restore point(s), ${bytesText(greatest.bytes)}.\n`,
    `${spaceText(forward)}\n`,
    rpoText(forward.rpo),
    forward.kept_by.length === 0 ? '' : `\n${table(['rule', 'points'], forward.kept_by)}`,
    backward === null ? '' : `\n${backwardText(backward)}`,
  ];
  return parts.join('');
}

function byMonth(days: readonly WhatIfDay[]): readonly WhatIfDay[] {
  return [...Map.groupBy(days, ({ day }) => day.slice(0, 'yyyy-mm'.length))].map(([day, own]) => {
    const sum = (member: 'made' | 'expired' | 'removed'): number => own.reduce((total, row) => total + row[member], 0);
    const { points = 0, bytes = 0 } = own.at(-1) ?? {};
    return { day, made: sum('made'), expired: sum('expired'), removed: sum('removed'), points, bytes };
  });
}

function named({ count, first }: PolicyWhatIf['forward']['vms']['only_fulls'], what: string): string {
  if (count === 0) return '';
  const names = first.slice(0, MOST_LINES).map(({ vm_name }) => vm_name);
  return `${count} VM(s) ${what}: ${names.join(', ')}${count > names.length ? ', ...' : ''}\n`;
}

function reasons(byReason: PolicyWhatIf['forward']['runs']['by_reason']): string {
  return byReason.length === 0 ? '' : ` (${byReason.map(({ reason, runs }) => `${reason} ${runs}`).join(', ')})`;
}

function spaceText({ free_bytes, full_on }: PolicyWhatIf['forward']): string {
  if (free_bytes === null) return 'The free space of the repository is not known: it cannot be reached.';
  return `The repository has ${bytesText(free_bytes)} free now; ${full_on === null ? 'that is enough.' : `it would be full on ${full_on}.`}`;
}

function rpoText(rpo: PolicyWhatIf['forward']['rpo']): string {
  if (rpo === null) return '';
  const { rpo_seconds, violations } = rpo;
  if (violations.count === 0) return `The RPO of ${rpo_seconds} s is kept for every VM.\n`;
  const rows = violations.first.slice(0, MOST_LINES);
  return `The RPO of ${rpo_seconds} s is broken for ${violations.count} VM(s):\n\n${table(['vm_name', 'worst_gap_seconds', 'gap_from', 'gap_until'], rows)}`;
}

function backwardText({ since, restore_points, points, restores }: Exclude<PolicyWhatIf['backward'], null>): string {
  const { existed, would_exist, only_now, only_then } = restore_points;
  const differing = points.filter(({ exists, would_exist: would }) => exists !== would);
  const shown = differing.slice(0, MOST_LINES).map((point) => ({ ...point, exists: yesOrNo(point.exists), would_exist: yesOrNo(point.would_exist) }));
  const parts = [
    `In force since ${since}: of ${existed} restore point(s), ${would_exist} would exist today. ${only_now} that exist would not, ${only_then} that do not exist would.\n`,
    shown.length === 0 ? '' : `\n${table(['backup_id', 'vm_name', 'snapshot_instant', 'exists', 'would_exist', 'gone_at'], shown)}`,
    only_now + only_then > shown.length ? 'There are more; --json shows up to 1,000.\n' : '',
    `Of ${restores.made} restore(s) since then, ${restores.impossible} would have been impossible.\n`,
    restores.impossible === 0 ? '' : `\n${table(['kind', 'vm_name', 'backup_id', 'requested_at', 'gone_at'], restores.first.slice(0, MOST_LINES))}`,
  ];
  return parts.join('');
}

function yesOrNo(value: boolean): string {
  return value ? 'yes' : 'no';
}
