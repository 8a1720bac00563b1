import { Injectable } from '@nestjs/common';
import { StreamRecorder } from '../../../store/event-store/stream-recorder.js';
import { decideVerification, type VerificationStep } from './verification.decide.js';
import { type VerificationEvent, verificationStream } from './verification.events.js';
import { verificationDecider, type VerificationState } from './verification.state.js';

@Injectable()
export class VerificationRecorder extends StreamRecorder<VerificationState, VerificationStep, VerificationEvent> {
  protected readonly actor = 'system:run-verification';
  protected readonly decider = verificationDecider(decideVerification);
  protected readonly streamOf = verificationStream;
}
