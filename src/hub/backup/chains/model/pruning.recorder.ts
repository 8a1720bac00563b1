import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { type ChainEvent, chainStream } from './chain.events.js';
import { chainDecider, type ChainState } from './chain.state.js';
import { decidePruningProgress, type PruningProgress } from './pruning-progress.decide.js';

@Injectable()
export class PruningRecorder extends StreamRecorder<ChainState, PruningProgress, ChainEvent> {
  protected readonly actor = 'system:run-pruning';
  protected readonly decider = chainDecider(decidePruningProgress);
  protected readonly streamOf = chainStream;

  constructor(
    runner: CommandRunner,
    private readonly events: EventStore,
    private readonly newIds: Ids,
  ) {
    super(runner, events, newIds);
  }

  /** Under the correlation id of the newest request to prune the chain. */
  override async context(chainId: string, commandId: string = this.newIds.next()): Promise<CommandContext> {
    for await (const event of this.events.read(chainStream(chainId), { direction: 'backwards' })) {
      if (event.type === 'PruningRequested') return { commandId, correlationId: event.metadata.$correlationId, actor: this.actor };
    }
    return super.context(chainId, commandId);
  }
}
