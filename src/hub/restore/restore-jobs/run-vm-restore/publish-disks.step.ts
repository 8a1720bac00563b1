import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { EndRestoreExport, restoreExportIdName, StartRestoreExport } from '../../restore-exports/model/restore-export.commands.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import type { KnownVmRestore } from '../model/vm-restore.state.js';

/**
 * The NBD exports from which the node reads the disks, or which an instant VM uses. Their ids derive from the job's id, so a repeated request gets the same
 * export.
 */
@Injectable()
export class PublishDisks {
  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError as StartRestoreExport */
  async publish(state: KnownVmRestore): Promise<void> {
    const { job } = state;
    for (const { disk_id } of job.disks) {
      if (state.uris.has(disk_id)) continue;
      const context = await this.recorder.context(job.job_id, commandId(job.job_id, disk_id));
      const mode = job.mode === 'instant' ? 'read_write' : 'read_only';
      const { export_id, position } = await this.commands.execute(
        new StartRestoreExport(job.backup_id, disk_id, mode, job.allow_damaged === true, context, holder(job.job_id), job.repository_id),
      );
      await this.readModels.waitFor(position, 'restore_exports');
      const { uri } = await this.dataSource.getRepository(RestoreExportReadModel).findOneByOrFail({ export_id });
      if (uri === null) throw new DomainError('unavailable', 'export_not_started', `Export ${export_id} of disk ${disk_id} has already ended.`);
      await this.recorder.record(job.job_id, { kind: 'disk_published', disk_id, export_id, uri, published_at: this.clock.iso() });
    }
  }

  /** Includes exports that an earlier run started but did not record. */
  async withdraw({ job }: KnownVmRestore): Promise<void> {
    for (const { disk_id } of job.disks) {
      const exportId = publishedExportId(job.job_id, disk_id);
      try {
        await this.commands.execute(new EndRestoreExport(exportId, await this.recorder.context(job.job_id), holder(job.job_id)));
      } catch (error) {
        if (!(error instanceof DomainError) || error.code !== 'restore_export_not_found') throw error;
      }
    }
  }
}

/** Id of the export that serves a disk of the job. */
export function publishedExportId(jobId: string, diskId: number): string {
  return derivedId(restoreExportIdName(commandId(jobId, diskId)));
}

function commandId(jobId: string, diskId: number): string {
  return derivedId(`vm-restore/${jobId}/disk/${diskId}`);
}

function holder(jobId: string): string {
  return `restore job ${jobId}`;
}
