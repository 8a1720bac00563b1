import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decidePipeline, type PipelineCommand } from './pipeline.decide.js';
import { type PipelineEvent, pipelineStream } from './pipeline.events.js';
import { pipelineDecider, type PipelineState } from './pipeline.state.js';

@Injectable()
export class PipelineRecorder extends StreamRecorder<PipelineState, PipelineCommand, PipelineEvent> {
  protected readonly actor = 'system:run-pipelines';
  protected readonly decider = pipelineDecider(decidePipeline);
  protected readonly streamOf = pipelineStream;
}
