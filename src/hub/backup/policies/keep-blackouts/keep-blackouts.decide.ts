import { DomainError } from '../../../../kernel/domain-error.js';
import type { BlackoutEvent, BlackoutSettings } from '../model/blackout.events.js';
import type { BlackoutState } from '../model/blackout.state.js';
import { knownZone } from '../model/time-zone.plan.js';

export type BlackoutCommand =
  | {
      readonly kind: 'create' | 'edit';
      readonly blackout_id: string;
      /** The version that an edit is based on. */
      readonly version: number;
      readonly settings: BlackoutSettings;
      /** Names of all other blackouts. */
      readonly other_names: readonly string[];
      readonly at: string;
    }
  | {
      readonly kind: 'delete';
      readonly blackout_id: string;
      /** Names of the policies that refer to it. */
      readonly policies: readonly string[];
      readonly at: string;
    };

/** @throws DomainError blackout_not_found, blackout_changed, blackout_name_taken, blackout_invalid, time_zone_unknown, blackout_used_by_policies */
export function decideBlackout(command: BlackoutCommand, state: BlackoutState): readonly BlackoutEvent[] {
  const { blackout_id, at } = command;
  if (command.kind === 'create') {
    return [{ type: 'BlackoutCreated', data: { blackout_id, version: 1, settings: sound(command.settings, command.other_names), created_at: at } }];
  }
  if (state.status !== 'active') throw blackoutNotFound(blackout_id);
  if (command.kind === 'delete') {
    refuseUsed(command, state.settings.name);
    return [{ type: 'BlackoutDeleted', data: { deleted_at: at } }];
  }
  if (command.version !== state.version) {
    throw new DomainError(
      'conflict',
      'blackout_changed',
      `The edit is based on version ${command.version} of blackout "${state.settings.name}", which has version ${state.version} by now. Read it again.`,
      { blackout_id, version: state.version },
    );
  }
  return [{ type: 'BlackoutEdited', data: { version: state.version + 1, settings: sound(command.settings, command.other_names), edited_at: at } }];
}

function refuseUsed({ blackout_id, policies }: Extract<BlackoutCommand, { kind: 'delete' }>, name: string): void {
  if (policies.length === 0) return;
  const names = policies.map((policy) => `"${policy}"`).join(', ');
  const detail = `Blackout "${name}" is used by ${policies.length === 1 ? 'policy' : 'policies'} ${names}. Remove it from them first.`;
  throw new DomainError('conflict', 'blackout_used_by_policies', detail, { blackout_id, policies });
}

function sound(settings: BlackoutSettings, otherNames: readonly string[]): BlackoutSettings {
  const { name, dates, weekly } = settings;
  if (otherNames.includes(name)) {
    throw new DomainError('conflict', 'blackout_name_taken', `A blackout named "${name}" already exists. Choose another name.`, {
      field: 'name',
      rule: 'unique',
    });
  }
  if (dates.length + weekly.length === 0) throw invalid('A blackout needs dates, weekly times or both.', 'dates', 'at_least_one_time');
  for (const { from, until } of dates) {
    for (const wall of [from, until]) if (!isDate(wall)) throw invalid(`${wall} is no date.`, 'dates', 'existing_date');
    if (from >= until) throw invalid('A blackout must end after it begins.', 'dates', 'until_after_from');
  }
  return { ...settings, time_zone: knownZone(settings.time_zone) };
}

/** 31 February is none. */
function isDate(wall: string): boolean {
  const at = new Date(`${wall}Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(wall);
}

function invalid(detail: string, field: string, rule: string): DomainError {
  return new DomainError('invalid', 'blackout_invalid', detail, { field, rule });
}

export function blackoutNotFound(blackout_id: string): DomainError {
  return new DomainError('not_found', 'blackout_not_found', `There is no blackout ${blackout_id}.`, { blackout_id });
}
