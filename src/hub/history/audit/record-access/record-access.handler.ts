import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { RecordAccess } from '../model/access.commands.js';
import { AccessRecorder } from './access.recorder.js';

@CommandHandler(RecordAccess)
export class RecordAccessHandler implements ICommandHandler<RecordAccess> {
  constructor(private readonly recorder: AccessRecorder) {}

  execute({ access, reader }: RecordAccess): Promise<string> {
    return this.recorder.begun(access, reader);
  }
}
