import { Module } from '@nestjs/common';
import { Ledger } from './model/ledger.reader.js';
import { LastCheckpoint } from './model/last-checkpoint.service.js';
import { LedgerKeys } from './model/ledger-keys.service.js';
import { RotateLedgerKeyController } from './rotate-key/rotate-key.controller.js';
import { LedgerKeyRotation } from './rotate-key/rotate-key.service.js';
import { ServeLedgerController } from './serve-ledger/serve-ledger.controller.js';
import { VerifyHistoryController } from './verify-history/verify-history.controller.js';
import { VerifyHistory } from './verify-history/verify-history.service.js';
import { LedgerWatch } from './watch-ledger/watch-ledger.service.js';

@Module({
  controllers: [ServeLedgerController, VerifyHistoryController, RotateLedgerKeyController],
  providers: [Ledger, LedgerKeys, LastCheckpoint, LedgerKeyRotation, LedgerWatch, VerifyHistory],
  exports: [Ledger],
})
export class LedgerModule {}
