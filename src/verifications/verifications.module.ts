import { Module } from '@nestjs/common';
import { RepositoryFilesModule } from '../platform/repository-files/repository-files.module.js';
import { RestorePointVerifier } from '../platform/repository-files/restore-point-verifier.js';
import { ListVerificationsController } from './list-verifications/list-verifications.controller.js';
import { RunVerificationReactor } from './run-verification/run-verification.reactor.js';
import { StartVerificationController } from './start-verification/start-verification.controller.js';
import { StartVerificationHandler } from './start-verification/start-verification.handler.js';

@Module({
  imports: [RepositoryFilesModule],
  controllers: [StartVerificationController, ListVerificationsController],
  providers: [StartVerificationHandler, RunVerificationReactor, RestorePointVerifier],
})
export class VerificationsModule {}
