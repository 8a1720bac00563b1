import { DomainError } from '../../../../kernel/domain-error.js';
import type { Immutability, RepositoryEvent } from '../model/repository.events.js';
import type { RepositoryState } from '../model/repository.state.js';

export type ImmutabilityWanted = Immutability & { readonly repository_id: string; readonly set_at: string };

/**
 * An enforced period can only become longer, so that an intruder in the hub cannot shorten the locks of later restore points.
 * @throws DomainError repository_not_found, immutability_invalid, immutability_only_lengthens
 */
export function decideImmutability({ repository_id, mode, days, set_at }: ImmutabilityWanted, state: RepositoryState): readonly RepositoryEvent[] {
  if (state.status !== 'active') throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
  const { name } = state.repository;
  if ((mode === 'none') !== (days === 0)) {
    const message = mode === 'none' ? 'days must be 0 with the mode none.' : `days must be at least 1 with the mode ${mode}.`;
    throw new DomainError('invalid', 'immutability_invalid', message, { mode, days });
  }
  const before = state.immutability;
  if (before.mode === mode && before.days === days) return [];
  if (before.mode === 'enforced' && (mode !== 'enforced' || days < before.days)) {
    const message =
      `Restore points of repository "${name}" are locked for ${before.days} days, enforced by its keeper. ` +
      `This can only be made longer; use another repository for backups that are locked less.`;
    throw new DomainError('conflict', 'immutability_only_lengthens', message, { repository_id, mode: before.mode, days: before.days });
  }
  return [{ type: 'RepositoryImmutabilitySet', data: { mode, days, set_at } }];
}
