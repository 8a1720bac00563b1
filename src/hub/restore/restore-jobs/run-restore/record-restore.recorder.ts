import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { type RestoreJobEvent, restoreJobStream } from '../model/restore-job.events.js';
import { restoreJobDecider, type RestoreJobState } from '../model/restore-job.state.js';
import { decideRecordRestore, type RecordRestore } from './record-restore.decide.js';

@Injectable()
export class RestoreRecorder extends StreamRecorder<RestoreJobState, RecordRestore, RestoreJobEvent> {
  protected readonly actor = 'system:run-restore';
  protected readonly decider = restoreJobDecider(decideRecordRestore);
  protected readonly streamOf = restoreJobStream;
}
