import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import {
  type Immutability,
  localLocation,
  type RepositoryCapabilities,
  type RepositoryEvent,
  type RepositoryFacts,
  type StoredRepositoryEvent,
  upcastRepositoryEvent,
} from './repository.events.js';

type Known = {
  readonly repository: RepositoryFacts;
  /** null: not measured. */
  readonly capabilities: RepositoryCapabilities | null;
  readonly immutability: Immutability;
};

export type RepositoryState =
  | { readonly status: 'none' }
  | ({ readonly status: 'active' } & Known)
  /** The id is not reused, except when the same folder is imported again. */
  | ({ readonly status: 'deleted' } & Known);

export const initialRepositoryState: RepositoryState = { status: 'none' };

const NOT_IMMUTABLE: Immutability = { mode: 'none', days: 0 };

export function evolveRepository(state: RepositoryState, stored: StoredRepositoryEvent): RepositoryState {
  const event: RepositoryEvent = upcastRepositoryEvent(stored);
  switch (event.type) {
    case 'RepositoryCreatedV2':
      return { status: 'active', repository: event.data, capabilities: null, immutability: NOT_IMMUTABLE };
    case 'RepositoryImported': {
      const { repository_id, name, path, created_at } = event.data;
      const immutability = state.status === 'active' ? state.immutability : NOT_IMMUTABLE;
      return { status: 'active', repository: { repository_id, name, location: localLocation(path), created_at }, capabilities: null, immutability };
    }
    case 'RepositoryMoved': {
      const known = knownIn(state, event);
      return { ...known, repository: { ...known.repository, location: event.data.location }, capabilities: null };
    }
    case 'RepositoryCapabilitiesMeasured':
      return { ...knownIn(state, event), capabilities: event.data.capabilities };
    case 'RepositoryImmutabilitySet':
      return { ...knownIn(state, event), immutability: { mode: event.data.mode, days: event.data.days } };
    case 'RepositoryDeleted':
      return { ...knownIn(state, event), status: 'deleted' };
    default:
      return unknownVariant('repository stream', event);
  }
}

function knownIn(state: RepositoryState, event: RepositoryEvent): Exclude<RepositoryState, { readonly status: 'none' }> {
  if (state.status === 'none') throw new Error(`repository stream begins with ${event.type} instead of RepositoryCreated`);
  return state;
}

export const repositoryDecider = decidersOf<RepositoryState, RepositoryEvent>(initialRepositoryState, evolveRepository);
