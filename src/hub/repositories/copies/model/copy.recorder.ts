import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { type CopyEvent, copyStream } from './copy.events.js';
import { copyDecider, type CopyState } from './copy.state.js';
import { type CopyStep, decideCopyStep } from './record-copy.decide.js';

@Injectable()
export class CopyRecorder extends StreamRecorder<CopyState, CopyStep, CopyEvent> {
  protected readonly actor = 'system:run-copy';
  protected readonly decider = copyDecider(decideCopyStep);
  protected readonly streamOf = copyStream;
}
