import { Module } from '@nestjs/common';
import { GetBackupController } from './get-backup/get-backup.controller.js';
import { GetChainController } from './get-chain/get-chain.controller.js';
import { GetChangeIdController } from './get-change-id/get-change-id.controller.js';
import { ListBackupsController } from './list-backups/list-backups.controller.js';

/** The queries of the backups context. The order matters: `backups/chain` and `backups/changeid` must precede `backups/:id`. */
@Module({
  controllers: [ListBackupsController, GetChainController, GetChangeIdController, GetBackupController],
})
export class BackupQueriesModule {}
