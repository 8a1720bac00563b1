import { Module } from '@nestjs/common';
import { FileHasher } from '../../../storage/hashing/file-hasher.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import { ImageMerger } from '../../../storage/pruning/image-merger.js';
import { RestorePointRewriter } from '../../../storage/pruning/restore-point-rewriter.js';
import { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../../storage/repository-files/restore-point-verifier.js';
import type { ManifestSigner } from '../../../storage/repository-files/manifest-signature.js';
import { LedgerModule } from '../../history/ledger/ledger.module.js';
import { Ledger } from '../../history/ledger/model/ledger.reader.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { StorageWorkers } from '../../repositories/repository-storage/storage-workers.js';
import { FoundDamageService } from './mark-damaged/found-damage.service.js';
import { MarkRestorePointDamagedHandler } from './mark-damaged/mark-damaged.handler.js';
import { PrunableChains } from './model/prunable-chain.reader.js';
import { PruningRecorder } from './model/pruning.recorder.js';
import { MarkRestorePointHealedHandler } from './mark-healed/mark-healed.handler.js';
import { PruneChainController } from './prune-chain/prune-chain.controller.js';
import { PruneChainsHandler } from './prune-chain/prune-chain.handler.js';
import { RecordRestorePointHandler } from './record-restore-point/record-restore-point.handler.js';
import { RemoveRestorePointHandler } from './remove-restore-point/remove-restore-point.handler.js';
import { RunPruningReactor } from './run-pruning/run-pruning.reactor.js';

const REWRITER = {
  provide: RestorePointRewriter,
  useFactory: (files: RepositoryFiles, qemuImg: QemuImg, hasher: FileHasher, proven: ProvenFiles, workers: StorageWorkers, ledger: Ledger) => {
    const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
    const signer = (): ManifestSigner => ledger.manifestSigner;
    return new RestorePointRewriter(files, verifier, new ImageMerger(), qemuImg, hasher, proven, signer, (path) => workers.at(path));
  },
  inject: [RepositoryFiles, QemuImg, FileHasher, ProvenFiles, StorageWorkers, Ledger],
};

@Module({
  imports: [RepositoryFilesModule, LedgerModule],
  controllers: [PruneChainController],
  providers: [
    RecordRestorePointHandler,
    RemoveRestorePointHandler,
    MarkRestorePointDamagedHandler,
    MarkRestorePointHealedHandler,
    FoundDamageService,
    PruneChainsHandler,
    RunPruningReactor,
    PrunableChains,
    PruningRecorder,
    REWRITER,
  ],
})
export class ChainsModule {}
