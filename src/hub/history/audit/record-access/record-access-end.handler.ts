import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { RecordAccessEnd } from '../model/access.commands.js';
import { AccessRecorder } from './access.recorder.js';

@CommandHandler(RecordAccessEnd)
export class RecordAccessEndHandler implements ICommandHandler<RecordAccessEnd> {
  constructor(private readonly recorder: AccessRecorder) {}

  execute({ backupId, end, reader }: RecordAccessEnd): Promise<void> {
    return this.recorder.ended(backupId, end, reader);
  }
}
