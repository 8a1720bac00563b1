import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { MarkRestorePointDamaged } from '../../chains/model/chain.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { AllocatePorts, ReleaseJobPorts } from '../../../exports/nbd-ports/model/nbd-port.commands.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { ObserveVmDisks } from '../../vms/model/vm.commands.js';
import { type BackupFacts, BackupFactsReader } from '../model/backup-facts.reader.js';
import type { BackupPlannedV2, PlannedDisk, PlannedPort } from '../model/backup.events.js';
import type { BackupRun, DiskTarget } from '../model/backup.state.js';
import { backingPath, diskFile, exportName } from './nbd-targets.plan.js';
import { LocateRun } from './locate-run.step.js';
import { RunRecorder } from './record-run.recorder.js';

type PlanWithoutPorts = Omit<BackupPlannedV2['data'], 'ports'>;

/** The pool currently has too few free ports; the backup stays pending. */
export class PortsShortError extends Error {
  override readonly name = 'PortsShortError';
  constructor(
    readonly wanted: number,
    readonly free: number,
  ) {
    super(`${wanted} NBD ports are needed, ${free} are free`);
  }
}

/** Prepares a queued backup: makes the plan, allocates the ports and creates the empty QCOW2 files. */
@Injectable()
export class PrepareRun {
  constructor(
    private readonly commands: CommandBus,
    private readonly facts: BackupFactsReader,
    private readonly locate: LocateRun,
    private readonly recorder: RunRecorder,
    private readonly readModels: ReadModels,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
    private readonly files: RepositoryFiles,
  ) {}

  /**
   * Plans the backup and allocates its ports. Serialised with the deletion of restore points of the same VM, so that no restore point is deleted while it is
   * being planned on.
   * @throws PortsShortError, and all errors of BackupFactsReader.gather
   */
  async plan(run: BackupRun): Promise<void> {
    await this.mutex.runExclusive(vmLock(run.request.vm_id), async () => {
      await this.readModels.current();
      const facts = await this.facts.gather(run.request);
      await this.noteFindings(run, facts);
      const context = await this.recorder.context(run.request.backup_id);
      // A hub that was killed between allocating ports and recording the plan has left ports allocated under the names of a lost plan.
      await this.commands.execute(new ReleaseJobPorts(run.request.backup_id, false, context));
      const plan = this.planOf(run, facts);
      const ports = await this.allocatePorts(run, plan);
      await this.recorder.record(run.request.backup_id, { kind: 'record-plan', plan: { ...plan, ports }, left_out_disks: facts.left_out_disks });
    });
  }

  /** Creates the empty files and records the target of each disk. Files of an interrupted attempt are created again; they have not been served yet. */
  async createTargets(run: BackupRun): Promise<void> {
    const { plan } = run;
    if (plan === null) throw new Error(`backup ${run.request.backup_id} has no plan to prepare`);
    const repositoryPath = await this.locate.repositoryPath(run);
    if (repositoryPath === null) throw new DomainError('conflict', 'repository_not_found', 'The repository was removed while the backup ran.');
    const ports = plan.ports.length > 0 ? plan.ports : await this.allocatePorts(run, plan);
    const folder = await this.files.createPartial(repositoryPath, plan.folder);
    const targets = await Promise.all(
      plan.disks.map(async (disk): Promise<DiskTarget> => {
        const port = ports.find(({ disk_id }) => disk_id === disk.disk_id);
        if (port === undefined) throw new Error(`disk ${disk.disk_id} of backup ${run.request.backup_id} got no port`);
        const path = join(folder, disk.file);
        const backing = disk.parent_file === null ? null : backingPath(plan.folder, disk.parent_file);
        await this.files.createImage(repositoryPath, path, disk.size_bytes, backing);
        return {
          ...port,
          export_id: derivedId(`export/${run.request.backup_id}/${disk.disk_id}`),
          qcow2_path: path,
        };
      }),
    );
    await this.recorder.record(run.request.backup_id, { kind: 'record-targets', targets });
  }

  private planOf(run: BackupRun, facts: BackupFacts): PlanWithoutPorts {
    const { request } = run;
    const { decision } = facts;
    const startedAt = this.clock.iso();
    const parent = decision.backup_type === 'incremental' ? decision.parent : null;
    const disks = facts.disks.map((disk): PlannedDisk => {
      const before = parent?.disks.find((candidate) => candidate.disk_key === disk.disk_key) ?? null;
      return {
        disk_id: disk.disk_id,
        disk_key: disk.disk_key,
        size_bytes: disk.size_bytes,
        source_format: disk.format,
        file: diskFile(disk.disk_id),
        parent_file: before?.file ?? null,
        parent_change_id: before?.change_id ?? null,
      };
    });
    const point = this.files.restorePointFolder(startedAt, decision.backup_type, request.backup_id);
    return {
      backup_type: decision.backup_type,
      full_reason: decision.backup_type === 'full' ? decision.reason : null,
      full_reason_detail: decision.backup_type === 'full' ? decision.detail : null,
      chain_id: parent?.chain_id ?? derivedId(`chain/${request.backup_id}`),
      parent_backup_id: parent?.backup_id ?? null,
      folder: `${vmFolderOf(parent?.disks[0]?.file) ?? this.files.vmFolder(facts.vm_name, request.vm_id)}/${point}`,
      disks,
      started_at: startedAt,
      ...(facts.definition === null ? {} : { definition: facts.definition }),
    };
  }

  /** For disks that already have ports, gives those. */
  private async allocatePorts({ request }: BackupRun, { disks, backup_type, started_at }: PlanWithoutPorts): Promise<readonly PlannedPort[]> {
    const named = disks.map(({ disk_id }) => ({ disk_id, export_name: exportName(request.vm_name, request.vm_id, disk_id, backup_type, started_at) }));
    const names = named.map(({ export_name }) => export_name);
    try {
      const { ports } = await this.commands.execute(new AllocatePorts(request.backup_id, names, await this.recorder.context(request.backup_id)));
      return ports.flatMap(({ port }, index) => {
        const disk = named[index];
        return disk === undefined ? [] : [{ ...disk, nbd_port: port }];
      });
    } catch (error) {
      if (error instanceof DomainError && error.code === 'nbd_ports_exhausted') {
        const free = error.facts['free'];
        throw new PortsShortError(names.length, typeof free === 'number' ? free : 0);
      }
      throw error;
    }
  }

  /** Records the observed disks and damage. They are facts whatever the outcome of this run. */
  private async noteFindings(run: BackupRun, facts: BackupFacts): Promise<void> {
    const disks = facts.disks.map(({ disk_id, disk_key, size_bytes, format, change_tracking }) => ({ disk_id, disk_key, size_bytes, format, change_tracking }));
    await this.commands.execute(new ObserveVmDisks(run.request.vm_id, disks, await this.recorder.context(run.request.backup_id)));
    if (facts.parent.kind !== 'damaged') return;
    const { chain_id, backup_id, code, detail, file } = facts.parent;
    const damage = { code, detail, file, verification_id: null };
    await this.commands.execute(new MarkRestorePointDamaged(chain_id, backup_id, damage, await this.recorder.context(run.request.backup_id)));
  }
}

/** An incremental is stored next to its parent, even if the VM has since been renamed. */
function vmFolderOf(parentFile: string | undefined): string | null {
  return parentFile === undefined ? null : parentFile.slice(0, parentFile.indexOf('/'));
}
