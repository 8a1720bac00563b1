import { Module } from '@nestjs/common';
import { AuditLog } from './audit-log.reader.js';
import { ListEventsController } from './list-events/list-events.controller.js';
import { ReadStreamController } from './read-stream/read-stream.controller.js';

@Module({ controllers: [ListEventsController, ReadStreamController], providers: [AuditLog] })
export class AuditModule {}
