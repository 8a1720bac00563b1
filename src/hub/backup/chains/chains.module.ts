import { Module } from '@nestjs/common';
import { MarkRestorePointDamagedHandler } from './mark-damaged/mark-damaged.handler.js';
import { FoundDamageService } from './mark-damaged/found-damage.service.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { RecordRestorePointHandler } from './record-restore-point/record-restore-point.handler.js';
import { RemoveRestorePointHandler } from './remove-restore-point/remove-restore-point.handler.js';

@Module({
  imports: [RepositoryFilesModule],
  providers: [RecordRestorePointHandler, RemoveRestorePointHandler, MarkRestorePointDamagedHandler, FoundDamageService],
})
export class ChainsModule {}
