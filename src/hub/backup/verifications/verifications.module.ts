import { Module } from '@nestjs/common';
import { NodeClientModule } from '../../nodes/node-link/node-client.module.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { RestorePointVerifier } from '../../../storage/repository-files/restore-point-verifier.js';
import { GetBootArtefactController } from './get-boot-artefact/get-boot-artefact.controller.js';
import { ListVerificationsController } from './list-verifications/list-verifications.controller.js';
import { BootArtefacts } from './model/boot-artefacts.store.js';
import { VerificationRecorder } from './model/verification.recorder.js';
import { BootRestorePoint } from './run-verification/boot-restore-point.step.js';
import { RunVerificationReactor } from './run-verification/run-verification.reactor.js';
import { ScrubChainsReactor } from './scrub-chains/scrub-chains.reactor.js';
import { StartVerificationController } from './start-verification/start-verification.controller.js';
import { StartVerificationHandler } from './start-verification/start-verification.handler.js';

@Module({
  imports: [RepositoryFilesModule, NodeClientModule],
  controllers: [StartVerificationController, ListVerificationsController, GetBootArtefactController],
  providers: [
    StartVerificationHandler,
    RunVerificationReactor,
    ScrubChainsReactor,
    RestorePointVerifier,
    VerificationRecorder,
    BootRestorePoint,
    BootArtefacts,
  ],
})
export class VerificationsModule {}
