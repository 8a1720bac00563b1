import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import type { Position } from '../../../../kernel/position.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import { RemoveInstantVm } from '../model/vm-restore.commands.js';
import { vmRestoreStream } from '../model/vm-restore.events.js';

/** Maximum wait of the answer for the removal. The removal continues after that. */
const REMOVAL_PATIENCE_MS = 20_000;

@CommandHandler(RemoveInstantVm)
export class RemoveInstantVmHandler implements ICommandHandler<RemoveInstantVm> {
  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly feed: EventFeed,
    private readonly clock: Clock,
  ) {}

  async execute({ jobId, context }: RemoveInstantVm): Promise<Position | null> {
    const position = await this.recorder.record(jobId, { kind: 'give_up', job_id: jobId, at: this.clock.iso() }, context);
    const gone = await this.feed.first(vmRestoreStream(jobId), (event) => event.type === 'VmRestoreCleanedUp', REMOVAL_PATIENCE_MS).catch(() => null);
    return gone?.position ?? position;
  }
}
