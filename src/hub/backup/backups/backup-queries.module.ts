import { Module } from '@nestjs/common';
import { BackupAsOf } from './get-backup/backup-as-of.reader.js';
import { GetBackupController } from './get-backup/get-backup.controller.js';
import { GetChainController } from './get-chain/get-chain.controller.js';
import { GetChangeIdController } from './get-change-id/get-change-id.controller.js';
import { ListBackupsController } from './list-backups/list-backups.controller.js';

/** What is asked of backups. The order matters: `backups/chain` and `backups/changeid` come before `backups/:id`. */
@Module({
  controllers: [ListBackupsController, GetChainController, GetChangeIdController, GetBackupController],
  providers: [BackupAsOf],
})
export class BackupQueriesModule {}
