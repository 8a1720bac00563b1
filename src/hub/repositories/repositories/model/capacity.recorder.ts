import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decideMeasurement } from './capacity-measurement.decide.js';
import { type CapacityEvent, type CapacityMeasured, capacityStream } from './capacity.events.js';
import { capacityDecider, type CapacityState } from './capacity.state.js';

@Injectable()
export class CapacityRecorder extends StreamRecorder<CapacityState, CapacityMeasured['data'], CapacityEvent> {
  protected readonly actor = 'system:measure-capacity';
  protected readonly decider = capacityDecider(decideMeasurement);
  protected readonly streamOf = capacityStream;
}
