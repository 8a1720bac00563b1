import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decideOccurrence, type OccurrenceStep } from './occurrence.decide.js';
import { type OccurrenceEvent, occurrenceStream } from './occurrence.events.js';
import { occurrenceDecider, type OccurrenceState } from './occurrence.state.js';

@Injectable()
export class OccurrenceRecorder extends StreamRecorder<OccurrenceState, OccurrenceStep, OccurrenceEvent> {
  protected readonly actor = 'system:run-policies';
  protected readonly decider = occurrenceDecider(decideOccurrence);
  protected readonly streamOf = occurrenceStream;
}
