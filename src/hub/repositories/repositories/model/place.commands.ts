import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { RepositoryPlaceSet } from './place.events.js';

/** States where a repository is. @throws DomainError repository_not_found */
export class SetRepositoryPlace extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly repositoryId: string,
    readonly place: Pick<RepositoryPlaceSet['data'], 'site' | 'off_site' | 'medium'>,
    readonly context: CommandContext,
  ) {
    super();
  }
}
