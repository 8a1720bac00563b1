import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { normalize } from 'node:path';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { refuseDamaged, repositoryOf, restorableBackup, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { restoredFileName } from '../../../../lib/qemu/disk-copy.plan.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import type { StartedRestore } from '../model/restore-job.commands.js';
import { StartVmRestore, type WantedVm } from '../model/vm-restore.commands.js';
import type { VmRestoreRequested } from '../model/vm-restore.events.js';
import { PreviewVmRestore, refuseUnaccepted } from './preview-vm-restore.service.js';

@CommandHandler(StartVmRestore)
export class StartVmRestoreHandler implements ICommandHandler<StartVmRestore> {
  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly previews: PreviewVmRestore,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
  ) {}

  /** Serialized with the deletion of restore points of the same VM, so that none is deleted while a restore from it starts. */
  async execute({ wanted, context }: StartVmRestore): Promise<StartedRestore> {
    const jobId = derivedId(`vm-restore/${context.commandId}`);
    const known = await this.recorder.load(jobId);
    if (known.state.status !== 'none') return { job_id: jobId, position: known.position };
    if ((wanted.storagePath === null) !== wanted.instant) {
      throw new DomainError('invalid', 'storage_path_or_instant', 'Specify either a storage_path for the copied disks, or instant, but not both.');
    }
    const { vm_id } = await this.restorePoint(wanted);
    return this.mutex.runExclusive(vmLock(vm_id), async () => {
      const backup = await this.restorePoint(wanted);
      refuseDamaged(backup, wanted.allowDamaged);
      const position = await this.recorder.record(jobId, { kind: 'request', job: await this.jobOf(jobId, backup, wanted) }, context);
      return { job_id: jobId, position };
    });
  }

  private restorePoint(wanted: WantedVm): Promise<BackupReadModel> {
    return restorableBackup(this.readModels, this.dataSource, this.files, wanted.backupId, wanted);
  }

  private async jobOf(jobId: string, backup: BackupReadModel, wanted: WantedVm): Promise<VmRestoreRequested['data']> {
    const nodeId = wanted.nodeId ?? backup.node_id;
    if (!(await this.dataSource.getRepository(NodeReadModel).existsBy({ node_id: nodeId }))) {
      throw new DomainError('not_found', 'node_not_found', `Node ${nodeId} is not registered. Specify another node.`, { node_id: nodeId });
    }
    const repository = await repositoryOf(this.dataSource, backup);
    refuseUnaccepted(await this.previews.preview(backup, wanted), wanted);
    const folder = backup.folder ?? '';
    const sources = await sourcesOf(this.dataSource, backup);
    const storagePath = wanted.storagePath === null ? null : normalize(wanted.storagePath).replace(/(?<=.)\/+$/, '');
    return {
      job_id: jobId,
      backup_id: backup.backup_id,
      chain_id: backup.chain_id ?? '',
      vm_id: backup.vm_id,
      vm_name: backup.vm_name,
      repository_id: repository.repository_id,
      repository_path: repository.path,
      folder,
      mode: wanted.instant ? 'instant' : 'copy',
      node_id: nodeId,
      name: wanted.name,
      uuid: wanted.keepIdentity ? null : derivedId(`restored-vm/${jobId}`),
      keep_identity: wanted.keepIdentity,
      start: wanted.start,
      network: wanted.network,
      libvirt_network: wanted.libvirtNetwork,
      storage_path: storagePath,
      disks: backup.disks.map(({ disk_id, disk_key, virtual_size_bytes }) => ({
        disk_id,
        disk_key,
        virtual_size_bytes,
        sources: sources(disk_id),
        file_name: storagePath === null ? null : restoredFileName(wanted.name, disk_id, 'qcow2'),
      })),
      ...(wanted.allowDamaged ? { allow_damaged: true } : {}),
      requested_at: this.clock.iso(),
    };
  }
}
