import { Module } from '@nestjs/common';
import { MarkRestorePointDamagedHandler } from './mark-damaged/mark-damaged.handler.js';
import { RecordRestorePointHandler } from './record-restore-point/record-restore-point.handler.js';
import { RemoveRestorePointHandler } from './remove-restore-point/remove-restore-point.handler.js';

@Module({ providers: [RecordRestorePointHandler, RemoveRestorePointHandler, MarkRestorePointDamagedHandler] })
export class ChainsModule {}
