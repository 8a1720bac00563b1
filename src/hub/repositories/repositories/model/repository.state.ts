import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { Immutability, RepositoryCreated, RepositoryEvent } from './repository.events.js';

export type RepositoryState =
  | { readonly status: 'none' }
  | { readonly status: 'active'; readonly repository: RepositoryCreated['data']; readonly immutability: Immutability }
  /** The id is not reused, except when the same folder is imported again. */
  | { readonly status: 'deleted'; readonly repository: RepositoryCreated['data'] };

export const initialRepositoryState: RepositoryState = { status: 'none' };

const NOT_IMMUTABLE: Immutability = { mode: 'none', days: 0 };

export function evolveRepository(state: RepositoryState, event: RepositoryEvent): RepositoryState {
  switch (event.type) {
    case 'RepositoryCreated':
      return { status: 'active', repository: event.data, immutability: NOT_IMMUTABLE };
    case 'RepositoryImported': {
      const { repository_id, name, type, path, created_at } = event.data;
      const immutability = state.status === 'active' ? state.immutability : NOT_IMMUTABLE;
      return { status: 'active', repository: { repository_id, name, type, path, created_at }, immutability };
    }
    case 'RepositoryImmutabilitySet':
      if (state.status !== 'active') throw new Error(`repository stream has ${event.type} while the repository is ${state.status}`);
      return { ...state, immutability: { mode: event.data.mode, days: event.data.days } };
    case 'RepositoryDeleted':
      if (state.status === 'none') throw new Error(`repository stream begins with ${event.type} instead of RepositoryCreated`);
      return { status: 'deleted', repository: state.repository };
    default:
      return unknownVariant('repository stream', event);
  }
}

export const repositoryDecider = decidersOf<RepositoryState, RepositoryEvent>(initialRepositoryState, evolveRepository);
