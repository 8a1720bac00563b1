import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import type { Position } from '../../../../kernel/position.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import { CancelVmRestore } from '../model/vm-restore.commands.js';

@CommandHandler(CancelVmRestore)
export class CancelVmRestoreHandler implements ICommandHandler<CancelVmRestore> {
  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly clock: Clock,
  ) {}

  async execute({ jobId, context }: CancelVmRestore): Promise<Position | null> {
    return this.recorder.record(jobId, { kind: 'cancel', job_id: jobId, at: this.clock.iso() }, context);
  }
}
