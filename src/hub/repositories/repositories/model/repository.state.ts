import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { RepositoryCreated, RepositoryEvent } from './repository.events.js';

export type RepositoryState =
  | { readonly status: 'none' }
  | { readonly status: 'active'; readonly repository: RepositoryCreated['data'] }
  /** The id is not reused, except when the same folder is imported again. */
  | { readonly status: 'deleted'; readonly repository: RepositoryCreated['data'] };

export const initialRepositoryState: RepositoryState = { status: 'none' };

export function evolveRepository(state: RepositoryState, event: RepositoryEvent): RepositoryState {
  switch (event.type) {
    case 'RepositoryCreated':
      return { status: 'active', repository: event.data };
    case 'RepositoryImported': {
      const { repository_id, name, type, path, created_at } = event.data;
      return { status: 'active', repository: { repository_id, name, type, path, created_at } };
    }
    case 'RepositoryDeleted':
      if (state.status === 'none') throw new Error(`repository stream begins with ${event.type} instead of RepositoryCreated`);
      return { status: 'deleted', repository: state.repository };
    default:
      return unknownVariant('repository stream', event);
  }
}

export const repositoryDecider = decidersOf<RepositoryState, RepositoryEvent>(initialRepositoryState, evolveRepository);
