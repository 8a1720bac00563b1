import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decideVmRestore, type VmRestoreStep } from './record-vm-restore.decide.js';
import { type VmRestoreEvent, vmRestoreStream } from './vm-restore.events.js';
import { vmRestoreDecider, type VmRestoreState } from './vm-restore.state.js';

@Injectable()
export class VmRestoreRecorder extends StreamRecorder<VmRestoreState, VmRestoreStep, VmRestoreEvent> {
  protected readonly actor = 'system:run-vm-restore';
  protected readonly decider = vmRestoreDecider(decideVmRestore);
  protected readonly streamOf = vmRestoreStream;
}
