import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Decider } from '../../../../kernel/decider.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { type RestoreJobEvent, restoreJobStream } from '../model/restore-job.events.js';
import { evolveRestoreJob, initialRestoreJobState, type RestoreJobState } from '../model/restore-job.state.js';
import { decideRecordRestore, type RecordRestore } from './record-restore.decide.js';

const decider: Decider<RestoreJobState, RecordRestore, RestoreJobEvent> = {
  initialState: initialRestoreJobState,
  evolve: evolveRestoreJob,
  decide: decideRecordRestore,
};

/** Loads a job's state and records the reactor's steps under the correlation id of the request. */
@Injectable()
export class RestoreRecorder {
  constructor(
    private readonly runner: CommandRunner,
    private readonly store: EventStore,
    private readonly ids: Ids,
  ) {}

  async load(jobId: string): Promise<RestoreJobState> {
    return (await this.runner.load(restoreJobStream(jobId), decider)).state;
  }

  async record(jobId: string, command: RecordRestore): Promise<void> {
    await this.runner.run(restoreJobStream(jobId), decider, command, await this.context(jobId));
  }

  /** Command context for a command caused by this job, including commands of other modules. */
  async context(jobId: string): Promise<CommandContext> {
    let correlationId = jobId;
    for await (const first of this.store.read(restoreJobStream(jobId), { limit: 1 })) correlationId = first.metadata.$correlationId;
    return { commandId: this.ids.next(), correlationId, actor: 'system:run-restore' };
  }
}
