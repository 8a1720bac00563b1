import type { PolicySettings, StartWindow } from '../model/policy.events.js';

/** The policy in one sentence. @param repository its name; null: it was deleted */
export function describePolicy(settings: PolicySettings, { vms, repository }: { readonly vms: number; readonly repository: string | null }): string {
  const { enabled, schedule, time_zone, spread_seconds, start_window, blackouts, catch_up, backup_type } = settings;
  const type = backup_type === 'auto' ? '' : ` with ${backup_type === 'full' ? 'a full backup' : 'an incremental'} each time`;
  const parts = [
    `${enabled ? 'Backs up' : 'Is disabled, and would back up'} ${count(vms, 'VM')} into ${repository === null ? 'a deleted repository' : `repository "${repository}"`}${type}: ${schedule} (${time_zone})`,
    ...(spread_seconds === 0 ? [] : [`spread over ${spread_seconds} s`]),
    ...(start_window === null ? [] : [`starting only ${windowText(start_window)}`]),
    ...(blackouts.length === 0 ? [] : [`except in ${count(blackouts.length, 'blackout')}`]),
    catch_up === 'latest' ? 'catching up the newest missed run within 12 hours' : 'without catching up missed runs',
  ];
  return `${parts.join(', ')}.`;
}

function windowText({ from, until, days }: StartWindow): string {
  return `from ${from} to ${until}${days.length === 0 ? '' : ` on ${days.join(', ')}`}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
