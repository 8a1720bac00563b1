import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { copyAndParents, recordedAt, refuseRewriting } from '../../backups/model/restore-points.reader.js';
import { StartVerification, type StartedVerification, type WantedBoot } from '../model/verification.commands.js';
import type { BootWanted, PointToVerify } from '../model/verification.events.js';
import { VerificationRecorder } from '../model/verification.recorder.js';

@CommandHandler(StartVerification)
export class StartVerificationHandler implements ICommandHandler<StartVerification> {
  constructor(
    private readonly recorder: VerificationRecorder,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
  ) {}

  async execute(command: StartVerification): Promise<StartedVerification> {
    const { backupId, context } = command;
    const verificationId = derivedId(`verification/${context.commandId}`);
    const known = await this.recorder.load(verificationId);
    if (known.state.status !== 'none') return { verification_id: verificationId, position: known.position };
    await this.readModels.current('backups');
    const { vm_id = '' } = (await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId })) ?? {};
    // No file is replaced between a look at the records and the request.
    return this.mutex.runExclusive(vmLock(vm_id), () => this.request(verificationId, command));
  }

  private async request(verificationId: string, { backupId, boot, heal, repositoryId, context }: StartVerification): Promise<StartedVerification> {
    await this.readModels.current('backups', 'chains', 'copies', 'repositories');
    const found = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId });
    if (found === null) throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
    const backup = repositoryId === null ? found : await recordedAt(this.dataSource, found, repositoryId);
    if (backup.status !== 'completed' || backup.chain_id === null) {
      throw new DomainError('conflict', 'backup_not_verifiable', `Backup ${backupId} is ${backup.status}; only a completed backup has files to verify.`, {
        backup_id: backupId,
        status: backup.status,
      });
    }
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: backup.repository_id });
    if (repository === null)
      throw new DomainError('not_found', 'repository_not_found', `The repository ${backup.repository_id} of backup ${backupId} was removed.`);
    await this.files.checkPresent(repository.repository_id, repository.path);
    const position = await this.recorder.record(
      verificationId,
      {
        kind: 'request',
        data: {
          verification_id: verificationId,
          backup_id: backupId,
          vm_id: backup.vm_id,
          vm_name: backup.vm_name,
          repository_id: repository.repository_id,
          repository_path: repository.path,
          chain_id: backup.chain_id,
          points: backup === found ? await this.pointsUpTo(backup, backup.chain_id) : await this.copiesUpTo(backup),
          requested_at: this.clock.iso(),
          ...(heal ? { heal } : {}),
          ...(boot === null ? {} : { boot: await this.bootOf(boot, backup, repository.path) }),
        },
      },
      context,
    );
    return { verification_id: verificationId, position };
  }

  /** Copies that the copy depends on in its repository, and itself. */
  private async copiesUpTo(backup: BackupReadModel): Promise<readonly PointToVerify[]> {
    return (await copyAndParents(this.dataSource, backup)).map((copy) => ({
      backup_id: copy.backup_id,
      folder: copy.folder ?? '',
      manifest_sha256: copy.manifest_sha256,
      files: (copy.disks ?? []).map(({ file, size_bytes, sha256 }) => ({ file, size_bytes, sha256 })),
    }));
  }

  private async bootOf(wanted: WantedBoot, backup: BackupReadModel, repositoryPath: string): Promise<BootWanted> {
    if (wanted.consoleText === null && !wanted.guestAgent) {
      throw new DomainError('invalid', 'sign_of_life_missing', 'Set console_text, guest_agent or both: the boot check needs a sign of life to wait for.');
    }
    if ((await this.files.readRecordedManifest(repositoryPath, backup.folder ?? '', backup.manifest_sha256)).definition === null) {
      throw new DomainError(
        'conflict',
        'definition_missing',
        `Restore point ${backup.backup_id} has no definition of its VM, so it cannot be booted. Only restore points of the source libvirt have one.`,
        { backup_id: backup.backup_id },
      );
    }
    const nodeId = wanted.nodeId ?? backup.node_id;
    if (!(await this.dataSource.getRepository(NodeReadModel).existsBy({ node_id: nodeId }))) {
      throw new DomainError('not_found', 'node_not_found', `The node ${nodeId} is not registered. Choose another node.`, { node_id: nodeId });
    }
    return {
      node_id: nodeId,
      console_text: wanted.consoleText,
      guest_agent: wanted.guestAgent,
      timeout_seconds: wanted.timeoutSeconds,
      memory_mib: wanted.memoryMib,
      disks: backup.disks.map(({ disk_id, disk_key, virtual_size_bytes }) => ({ disk_id, disk_key, size_bytes: virtual_size_bytes })),
    };
  }

  private async pointsUpTo(backup: BackupReadModel, chainId: string): Promise<readonly PointToVerify[]> {
    const chain = await this.dataSource.getRepository(ChainReadModel).findOneBy({ chain_id: chainId });
    const ids = chain?.points.map(({ backup_id }) => backup_id) ?? [];
    // Without this check, a verification of no files would pass.
    if (!ids.includes(backup.backup_id)) {
      throw new DomainError(
        'conflict',
        'restore_point_not_in_chain',
        `Restore point ${backup.backup_id} does not belong to a chain yet: the import of its repository was interrupted. Import the repository again.`,
        { backup_id: backup.backup_id, repository_id: backup.repository_id },
      );
    }
    if (chain !== null) refuseRewriting(chain);
    const rows = new Map((await this.dataSource.getRepository(BackupReadModel).findBy({ chain_id: chainId })).map((row) => [row.backup_id, row]));
    return ids.slice(0, ids.indexOf(backup.backup_id) + 1).map((backupId) => {
      const row = rows.get(backupId);
      if (row === undefined) throw new Error(`chain ${chainId} has restore point ${backupId}, which is not among the backups`);
      return {
        backup_id: backupId,
        folder: row.folder ?? '',
        manifest_sha256: row.manifest_sha256,
        files: (row.files ?? []).map(({ file, size_bytes, sha256 }) => ({ file, size_bytes, sha256 })),
      };
    });
  }
}
