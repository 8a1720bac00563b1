import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { CancelRestore } from '../model/restore-job.commands.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import { restoreJobStream } from '../model/restore-job.events.js';
import { restoreJobDecider } from '../model/restore-job.state.js';
import { decideCancelRestore } from './cancel-restore.decide.js';

const decider = restoreJobDecider(decideCancelRestore);

@CommandHandler(CancelRestore)
export class CancelRestoreHandler implements ICommandHandler<CancelRestore> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly vmRestores: VmRestoreRecorder,
    private readonly clock: Clock,
  ) {}

  /** @returns position of the job's newest event */
  async execute({ jobId, context }: CancelRestore): Promise<Position | null> {
    const { state } = await this.runner.load(restoreJobStream(jobId), decider);
    // VM restores have a stream of their own, whose decider also reports an unknown job.
    if (state.status === 'none') return this.vmRestores.record(jobId, { kind: 'cancel', job_id: jobId, at: this.clock.iso() }, context);
    const command = { job_id: jobId, cancelled_at: this.clock.iso() };
    return (await this.runner.run(restoreJobStream(jobId), decider, command, context)).position;
  }
}
