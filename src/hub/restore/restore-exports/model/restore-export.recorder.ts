import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Decider } from '../../../../kernel/decider.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner, type LoadedStream } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { decideRestoreExport, type RestoreExportStep } from './restore-export.decide.js';
import { type RestoreExportEvent, restoreExportStream } from './restore-export.events.js';
import { evolveRestoreExport, initialRestoreExportState, type RestoreExportState } from './restore-export.state.js';

const decider: Decider<RestoreExportState, RestoreExportStep, RestoreExportEvent> = {
  initialState: initialRestoreExportState,
  evolve: evolveRestoreExport,
  decide: decideRestoreExport,
};

/** Loads and records exports. */
@Injectable()
export class RestoreExportRecorder {
  constructor(
    private readonly runner: CommandRunner,
    private readonly store: EventStore,
    private readonly ids: Ids,
  ) {}

  load(exportId: string): Promise<LoadedStream<RestoreExportState>> {
    return this.runner.load(restoreExportStream(exportId), decider);
  }

  /** Without a context, the step is an observation of the hub and carries the correlation id of the request. @returns position of the stream's newest event */
  async record(exportId: string, step: RestoreExportStep, context?: CommandContext): Promise<Position | null> {
    return (await this.runner.run(restoreExportStream(exportId), decider, step, context ?? (await this.context(exportId)))).position;
  }

  async context(exportId: string): Promise<CommandContext> {
    let correlationId = exportId;
    for await (const first of this.store.read(restoreExportStream(exportId), { limit: 1 })) correlationId = first.metadata.$correlationId;
    return { commandId: this.ids.next(), correlationId, actor: 'system:restore-exports' };
  }
}
