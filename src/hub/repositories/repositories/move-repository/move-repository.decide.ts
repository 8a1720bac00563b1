import { DomainError } from '../../../../kernel/domain-error.js';
import type { RepositoryCapabilities, RepositoryEvent, RepositoryLocation } from '../model/repository.events.js';
import { type PathCheck, pathRefusal } from '../model/repository-path.plan.js';
import type { RepositoryState } from '../model/repository.state.js';

export type MoveRepositoryData = {
  readonly repository_id: string;
  readonly location: RepositoryLocation;
  readonly checks: readonly PathCheck[];
  /** Id in the marker at the new path; null: no marker. */
  readonly marker_repository_id: string | null;
  /** What still works with files at the present path, in words. */
  readonly in_use: readonly string[];
  readonly moved_at: string;
};

export function decideMoveRepository(command: MoveRepositoryData, state: RepositoryState): readonly RepositoryEvent[] {
  const { repository_id, location, checks, marker_repository_id, in_use } = command;
  if (state.status !== 'active') throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
  const { name, location: present } = state.repository;
  if (textOf(location) === textOf(present)) return [];
  // The same files, reached by the same path: nothing that is open is affected.
  const stays = location.type === 'local' && present.type === 'local' && location.path === present.path;
  if (!stays && in_use.length > 0) {
    throw new DomainError(
      'conflict',
      'repository_in_use',
      `Repository "${name}" is in use at "${present.path}": ${in_use.join(', ')}. End or cancel these first.`,
      {
        repository_id,
        in_use: [...in_use],
      },
    );
  }
  const failed = checks.find(({ ok }) => !ok);
  if (failed !== undefined) throw pathRefusal(failed, location.path, marker_repository_id);
  if (marker_repository_id !== repository_id) {
    throw new DomainError(
      'invalid',
      'repository_marker_missing',
      `"${location.path}" does not hold repository "${name}": it has no marker. Copy or mount the repository there first, with its hidden files.`,
      { repository_id, path: location.path },
    );
  }
  return [{ type: 'RepositoryMoved', data: { location, moved_at: command.moved_at } }];
}

/** The same for equal locations: the event store keeps no order of members. */
function textOf(location: RepositoryLocation): string {
  return JSON.stringify(Object.entries(location).sort(([one], [other]) => (one < other ? -1 : 1)));
}

export type MeasuredCapabilities = { readonly capabilities: RepositoryCapabilities; readonly measured_at: string };

/** Of a repository that was just moved to another share. */
export function decideRecordCapabilities(measured: MeasuredCapabilities, state: RepositoryState): readonly RepositoryEvent[] {
  return state.status === 'active' && state.capabilities === null ? [{ type: 'RepositoryCapabilitiesMeasured', data: measured }] : [];
}
