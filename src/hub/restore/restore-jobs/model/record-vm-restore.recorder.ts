import { Injectable } from '@nestjs/common';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Decider } from '../../../../kernel/decider.js';
import { Ids } from '../../../../lib/clock/clock.js';
import { CommandRunner, type LoadedStream } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { decideVmRestore, type VmRestoreStep } from './record-vm-restore.decide.js';
import { type VmRestoreEvent, vmRestoreStream } from './vm-restore.events.js';
import { evolveVmRestore, initialVmRestoreState, type VmRestoreState } from './vm-restore.state.js';

const decider: Decider<VmRestoreState, VmRestoreStep, VmRestoreEvent> = {
  initialState: initialVmRestoreState,
  evolve: evolveVmRestore,
  decide: decideVmRestore,
};

/** Loads and records VM restores. */
@Injectable()
export class VmRestoreRecorder {
  constructor(
    private readonly runner: CommandRunner,
    private readonly store: EventStore,
    private readonly ids: Ids,
  ) {}

  load(jobId: string): Promise<LoadedStream<VmRestoreState>> {
    return this.runner.load(vmRestoreStream(jobId), decider);
  }

  /** Without a context, the step is an observation of the hub and carries the correlation id of the request. @returns position of the stream's newest event */
  async record(jobId: string, step: VmRestoreStep, context?: CommandContext): Promise<Position | null> {
    return (await this.runner.run(vmRestoreStream(jobId), decider, step, context ?? (await this.context(jobId)))).position;
  }

  /** commandId: for a command that must be idempotent; a new id by default. */
  async context(jobId: string, commandId: string = this.ids.next()): Promise<CommandContext> {
    let correlationId = jobId;
    for await (const first of this.store.read(vmRestoreStream(jobId), { limit: 1 })) correlationId = first.metadata.$correlationId;
    return { commandId, correlationId, actor: 'system:run-vm-restore' };
  }
}
