import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decideRestoreExport, type RestoreExportStep } from './restore-export.decide.js';
import { type RestoreExportEvent, restoreExportStream } from './restore-export.events.js';
import { restoreExportDecider, type RestoreExportState } from './restore-export.state.js';

@Injectable()
export class RestoreExportRecorder extends StreamRecorder<RestoreExportState, RestoreExportStep, RestoreExportEvent> {
  protected readonly actor = 'system:restore-exports';
  protected readonly decider = restoreExportDecider(decideRestoreExport);
  protected readonly streamOf = restoreExportStream;
}
