import { DomainError } from '../../../../kernel/domain-error.js';
import type { RepositoryCapabilities, RepositoryEvent, RepositoryFacts } from '../model/repository.events.js';
import { type PathCheck, pathRefusal } from '../model/repository-path.plan.js';
import type { RepositoryState } from '../model/repository.state.js';

export type CreateRepositoryData = {
  readonly repository: RepositoryFacts;
  /** null: not measured. */
  readonly capabilities: RepositoryCapabilities | null;
  /** Id of another repository with this name; null: none. */
  readonly name_holder: string | null;
  readonly checks: readonly PathCheck[];
  /** Id in the marker at the path; null: no marker. */
  readonly marker_repository_id: string | null;
};

export function decideCreateRepository(command: CreateRepositoryData, state: RepositoryState): readonly RepositoryEvent[] {
  const { repository, name_holder } = command;
  if (state.status === 'active') return [];
  if (state.status === 'deleted') throw new Error(`repository ${repository.repository_id} was deleted; its id cannot be reused`);
  if (name_holder !== null) {
    throw new DomainError('conflict', 'repository_name_taken', `A repository named "${repository.name}" already exists. Choose another name.`, {
      name: repository.name,
      repository_id: name_holder,
    });
  }
  const failed = command.checks.find((check) => !check.ok);
  if (failed !== undefined) throw pathRefusal(failed, repository.location.path, command.marker_repository_id);
  const created: RepositoryEvent = { type: 'RepositoryCreatedV2', data: repository };
  if (command.capabilities === null) return [created];
  return [created, { type: 'RepositoryCapabilitiesMeasured', data: { capabilities: command.capabilities, measured_at: repository.created_at } }];
}
