import { Module } from '@nestjs/common';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import { FileCopier } from '../../../storage/copying/file-copier.js';
import { RestorePointCopier } from '../../../storage/copying/restore-point-copier.js';
import { FileHasher } from '../../../storage/hashing/file-hasher.js';
import { ImageMerger } from '../../../storage/pruning/image-merger.js';
import type { ManifestSigner } from '../../../storage/repository-files/manifest-signature.js';
import { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import { RestorePointVerifier } from '../../../storage/repository-files/restore-point-verifier.js';
import { LedgerModule } from '../../history/ledger/ledger.module.js';
import { Ledger } from '../../history/ledger/model/ledger.reader.js';
import { RepositoryFilesModule } from '../repository-storage/repository-files.module.js';
import { StorageWorkers } from '../repository-storage/storage-workers.js';
import { CancelCopyController } from './cancel-copy/cancel-copy.controller.js';
import { CancelCopyHandler } from './cancel-copy/cancel-copy.handler.js';
import { DeleteCopyController } from './delete-copy/delete-copy.controller.js';
import { DeleteCopyHandler } from './delete-copy/delete-copy.handler.js';
import { GetCopyController } from './get-copy/get-copy.controller.js';
import { ListCopiesController } from './list-copies/list-copies.controller.js';
import { CopyProgress } from './model/copy-progress.registry.js';
import { CopyRecorder } from './model/copy.recorder.js';
import { RecordCopyRetentionHandler } from './record-copy-retention/record-copy-retention.handler.js';
import { RequestCopyController } from './request-copy/request-copy.controller.js';
import { RequestCopyHandler } from './request-copy/request-copy.handler.js';
import { MarkCopyDamagedHandler } from './run-copy/mark-copy-damaged.handler.js';
import { RecordCheckedCopyHandler } from './run-copy/record-checked-copy.handler.js';
import { RunCopyReactor } from './run-copy/run-copy.reactor.js';

const COPIER = {
  provide: RestorePointCopier,
  useFactory: (
    files: RepositoryFiles,
    copier: FileCopier,
    qemuImg: QemuImg,
    hasher: FileHasher,
    proven: ProvenFiles,
    workers: StorageWorkers,
    ledger: Ledger,
  ) => {
    const verifier = new RestorePointVerifier(files, qemuImg, hasher, proven);
    const signer = (): ManifestSigner => ledger.manifestSigner;
    return new RestorePointCopier(files, verifier, copier, new ImageMerger(), qemuImg, hasher, proven, signer, (path) => workers.at(path));
  },
  inject: [RepositoryFiles, FileCopier, QemuImg, FileHasher, ProvenFiles, StorageWorkers, Ledger],
};

@Module({
  imports: [RepositoryFilesModule, LedgerModule],
  controllers: [RequestCopyController, ListCopiesController, GetCopyController, CancelCopyController, DeleteCopyController],
  providers: [
    RequestCopyHandler,
    CancelCopyHandler,
    DeleteCopyHandler,
    RecordCopyRetentionHandler,
    MarkCopyDamagedHandler,
    RecordCheckedCopyHandler,
    RunCopyReactor,
    CopyRecorder,
    CopyProgress,
    FileCopier,
    COPIER,
  ],
})
export class CopiesModule {}
