import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { CapacityThresholds } from './capacity.events.js';

/** Sets from when on a repository counts as nearly full. @throws DomainError repository_not_found, capacity_thresholds_invalid */
export class SetCapacityThresholds extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly repositoryId: string,
    readonly thresholds: CapacityThresholds,
    readonly context: CommandContext,
  ) {
    super();
  }
}
