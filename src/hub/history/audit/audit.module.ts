import { Module } from '@nestjs/common';
import { AuditLog } from './audit-log.reader.js';
import { AccessRecorder } from './record-access/access.recorder.js';
import { RecordAccessEndHandler } from './record-access/record-access-end.handler.js';
import { RecordAccessHandler } from './record-access/record-access.handler.js';
import { RefusalsRecorder } from './record-refusals/refusals.recorder.js';
import { ListEventsController } from './list-events/list-events.controller.js';
import { ReadStreamController } from './read-stream/read-stream.controller.js';

@Module({
  controllers: [ListEventsController, ReadStreamController],
  providers: [AuditLog, AccessRecorder, RecordAccessHandler, RecordAccessEndHandler, RefusalsRecorder],
})
export class AuditModule {}
