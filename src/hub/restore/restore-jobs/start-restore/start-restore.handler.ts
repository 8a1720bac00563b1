import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { join, normalize } from 'node:path';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { refuseDamaged, repositoryOf, restorableBackup, sourcesOf } from '../../../backup/backups/model/restore-points.reader.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { HubConfig } from '../../../hub.config.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { errnoOf } from '../../../../lib/process/system-error.js';
import { restoredChainNames, restoredFileName } from '../../../../lib/qemu/disk-copy.plan.js';
import { QemuImg } from '../../../../lib/qemu/qemu-img.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { DIRECT_CALLS, type FileCalls } from '../../../../storage/storage-worker/file-calls.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { StartRestore, type StartedRestore, type WantedRestore } from '../model/restore-job.commands.js';
import { type RestoreDisk, type RestoreJobRequested, restoreJobStream } from '../model/restore-job.events.js';
import { restoreJobDecider } from '../model/restore-job.state.js';
import { decideStartRestore, type TargetFacts } from './start-restore.decide.js';

const decider = restoreJobDecider(decideStartRestore);

@CommandHandler(StartRestore)
export class StartRestoreHandler implements ICommandHandler<StartRestore> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
    private readonly workers: StorageWorkers,
    private readonly qemuImg: QemuImg,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
    private readonly config: HubConfig,
  ) {}

  /** Serialized with the deletion of restore points of the same VM, so that none is deleted while a restore from it starts. */
  async execute({ wanted, context }: StartRestore): Promise<StartedRestore> {
    const jobId = derivedId(`restore-job/${context.commandId}`);
    const known = await this.runner.load(restoreJobStream(jobId), decider);
    if (known.state.status !== 'none') return { job_id: jobId, position: known.position };
    const { vm_id } = await this.restorePoint(wanted);
    return this.mutex.runExclusive(vmLock(vm_id), async () => {
      const backup = await this.restorePoint(wanted);
      refuseDamaged(backup, wanted.allowDamaged);
      const job = await this.jobOf(jobId, backup, wanted);
      const { position } = await this.runner.run(restoreJobStream(jobId), decider, { job, target: await this.lookAtTarget(job) }, context);
      return { job_id: jobId, position };
    });
  }

  private restorePoint(wanted: WantedRestore): Promise<BackupReadModel> {
    return restorableBackup(this.readModels, this.dataSource, this.files, wanted.backupId, wanted);
  }

  private async jobOf(jobId: string, backup: BackupReadModel, wanted: WantedRestore): Promise<RestoreJobRequested['data']> {
    const repository = await repositoryOf(this.dataSource, backup);
    await this.files.checkPresent(repository.repository_id, repository.path);
    const sourcesOfDisk = await sourcesOf(this.dataSource, backup);
    const ids = wanted.disks ?? backup.disks.map(({ disk_id }) => disk_id);
    const disks = [...new Set(ids)].map((diskId): RestoreDisk => {
      const disk = backup.disks.find(({ disk_id }) => disk_id === diskId);
      if (disk === undefined) {
        throw new DomainError(
          'invalid',
          'restore_disk_not_found',
          `Backup ${backup.backup_id} has no disk ${diskId}. It has ${backup.disks.length} disks, numbered from 0.`,
          {
            disk: diskId,
          },
        );
      }
      const sources = sourcesOfDisk(diskId);
      return {
        disk_id: diskId,
        disk_key: disk.disk_key,
        virtual_size_bytes: disk.virtual_size_bytes,
        sources,
        outputs:
          wanted.chain === 'chain' ? restoredChainNames(backup.vm_name, diskId, sources.length) : [restoredFileName(backup.vm_name, diskId, wanted.format)],
      };
    });
    return {
      job_id: jobId,
      backup_id: backup.backup_id,
      chain_id: backup.chain_id ?? '',
      vm_id: backup.vm_id,
      vm_name: backup.vm_name,
      repository_id: repository.repository_id,
      repository_path: repository.path,
      target_path: normalize(wanted.targetPath).replace(/(?<=.)\/+$/, ''),
      format: wanted.format,
      chain: wanted.chain,
      overwrite: wanted.overwrite,
      ...(wanted.allowDamaged ? { allow_damaged: true } : {}),
      disks,
      requested_at: this.clock.iso(),
    };
  }

  private async lookAtTarget(job: RestoreJobRequested['data']): Promise<TargetFacts> {
    const path = job.target_path;
    const nothing = { writable: false, inside_repository: null, inside_own: null, roots: [], inside_roots: true, taken: [], free_bytes: 0, needed_bytes: 0 };
    const calls = this.workers.at(path);
    const found = await calls.stat(path).catch((error: unknown) => {
      if (errnoOf(error) !== null) return null;
      throw error;
    });
    if (found === null) return { ...nothing, found: 'missing' };
    if (found.kind !== 'folder') return { ...nothing, found: 'not_a_folder' };
    const names = job.disks.flatMap(({ outputs }) => outputs);
    const real = `${await calls.realpath(path)}/`;
    const { dataDirectory, runDirectory, tunnelDirectory, localNodeImageRoots, restoreRoots } = this.config;
    const [writable, inside, own, root, taken, free, needed] = await Promise.all([
      holds(calls.mayWriteIn(path)),
      this.repositoryAround(path),
      this.folderAround(real, [runDirectory, tunnelDirectory, dataDirectory], DIRECT_CALLS).then((own) => own ?? this.folderAround(real, localNodeImageRoots)),
      this.folderAround(real, restoreRoots),
      Promise.all(names.map(async (name) => ((await holds(calls.lstat(join(path, name)))) ? [name] : []))),
      calls.space(path),
      this.neededBytes(job),
    ]);
    return {
      found: 'folder',
      writable,
      inside_repository: inside,
      inside_own: own,
      roots: restoreRoots,
      inside_roots: root !== null,
      taken: taken.flat(),
      free_bytes: free.free_bytes,
      needed_bytes: needed,
    };
  }

  /** A damaged source counts as 0: it cannot be measured, and the job reports the damage. */
  private async neededBytes(job: RestoreJobRequested['data']): Promise<number> {
    const sizes = await Promise.all(
      job.disks.map(async ({ sources }) => {
        if (job.chain === 'chain') return sources.reduce((sum, source) => sum + source.size_bytes, 0);
        const chain = await this.files.checkChain(job.repository_path, sources, job.allow_damaged === true).catch((error: unknown) => {
          if (error instanceof DomainError && error.code === 'restore_point_damaged') return null;
          throw error;
        });
        return chain === null ? 0 : this.qemuImg.measure(chain.images).catch(() => 0);
      }),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /**
   * @param target with a trailing slash
   * @param calls used to resolve the directories; absent: a separate storage worker for each, because each may hang
   */
  private async folderAround(target: string, folders: readonly string[], calls?: FileCalls): Promise<string | null> {
    for (const folder of folders) {
      const real = await (calls ?? this.workers.at(folder)).realpath(folder).catch(() => folder);
      if (target.startsWith(`${real.replace(/\/$/, '')}/`)) return folder;
    }
    return null;
  }

  private async repositoryAround(path: string): Promise<string | null> {
    const target = `${await this.workers.at(path).realpath(path)}/`;
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
    const around = repositories.map(async (repository) => {
      // If the file system of the repository is unavailable, only its configured path is known.
      const root = await this.workers
        .at(repository.path)
        .realpath(repository.path)
        .catch(() => repository.path);
      return target.startsWith(`${root}/`) ? [repository.path] : [];
    });
    return (await Promise.all(around)).flat()[0] ?? null;
  }
}

/** @throws errors that are not about the file, such as a file system that does not answer */
async function holds(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => true,
    (error: unknown) => {
      if (errnoOf(error) === null) throw error;
      return false;
    },
  );
}
