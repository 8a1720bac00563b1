import { Module } from '@nestjs/common';
import { NodeClientModule } from '../../nodes/node-link/node-client.module.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { RestorePointVerifier } from '../../../storage/repository-files/restore-point-verifier.js';
import { FileCopier } from '../../../storage/copying/file-copier.js';
import { RestorePointHealer } from '../../../storage/copying/restore-point-healer.js';
import { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { GetBootArtefactController } from './get-boot-artefact/get-boot-artefact.controller.js';
import { ListVerificationsController } from './list-verifications/list-verifications.controller.js';
import { BootArtefacts } from './model/boot-artefacts.store.js';
import { VerificationRecorder } from './model/verification.recorder.js';
import { BootRestorePoint } from './run-verification/boot-restore-point.step.js';
import { HealRestorePoints } from './run-verification/heal-restore-points.step.js';
import { RecordVerdicts } from './run-verification/record-verdicts.step.js';
import { RunVerificationReactor } from './run-verification/run-verification.reactor.js';
import { ScrubChainsReactor } from './scrub-chains/scrub-chains.reactor.js';
import { StartVerificationController } from './start-verification/start-verification.controller.js';
import { StartVerificationHandler } from './start-verification/start-verification.handler.js';

const HEALER = {
  provide: RestorePointHealer,
  useFactory: (files: RepositoryFiles, copier: FileCopier, proven: ProvenFiles) => new RestorePointHealer(files, copier, proven),
  inject: [RepositoryFiles, FileCopier, ProvenFiles],
};

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
    HealRestorePoints,
    RecordVerdicts,
    FileCopier,
    HEALER,
  ],
})
export class VerificationsModule {}
