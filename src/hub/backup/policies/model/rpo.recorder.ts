import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decideRpo, type RpoStep } from './rpo.decide.js';
import { type RpoEvent, rpoStream } from './rpo.events.js';
import { rpoDecider, type RpoState } from './rpo.state.js';

@Injectable()
export class RpoRecorder extends StreamRecorder<RpoState, RpoStep, RpoEvent> {
  protected readonly actor = 'system:watch-rpo';
  protected readonly decider = rpoDecider(decideRpo);
  protected readonly streamOf = rpoStream;
}
