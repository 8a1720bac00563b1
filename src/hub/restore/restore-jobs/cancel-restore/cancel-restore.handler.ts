import { CommandBus, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Decider } from '../../../../kernel/decider.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { CancelRestore } from '../model/restore-job.commands.js';
import { CancelVmRestore } from '../model/vm-restore.commands.js';
import { type RestoreJobEvent, restoreJobStream } from '../model/restore-job.events.js';
import { evolveRestoreJob, initialRestoreJobState, type RestoreJobState } from '../model/restore-job.state.js';
import { type CancelRestoreAt, decideCancelRestore } from './cancel-restore.decide.js';

const decider: Decider<RestoreJobState, CancelRestoreAt, RestoreJobEvent> = {
  initialState: initialRestoreJobState,
  evolve: evolveRestoreJob,
  decide: decideCancelRestore,
};

@CommandHandler(CancelRestore)
export class CancelRestoreHandler implements ICommandHandler<CancelRestore> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
  ) {}

  /** @returns position of the job's newest event */
  async execute({ jobId, context }: CancelRestore): Promise<Position | null> {
    // VM restores have a separate stream; their handler reports an unknown job.
    const { state } = await this.runner.load(restoreJobStream(jobId), decider);
    if (state.status === 'none') return this.commands.execute<CancelVmRestore, Position | null>(new CancelVmRestore(jobId, context));
    const command = { job_id: jobId, cancelled_at: this.clock.iso() };
    return (await this.runner.run(restoreJobStream(jobId), decider, command, context)).position;
  }
}
