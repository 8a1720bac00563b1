import { Inject, Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { RemoveRestorePoint } from '../../chains/model/chain.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { StopExport } from '../../../exports/nbd-exports/model/nbd-export.commands.js';
import { ReleaseJobPorts } from '../../../exports/nbd-ports/model/nbd-port.commands.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { ProvenFiles } from '../../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import type { BackupRun } from '../model/backup.state.js';
import { ChangeIdsInUse } from '../model/change-ids-in-use.reader.js';
import { LocateRun } from './locate-run.step.js';
import { RunRecorder } from './record-run.recorder.js';

/** Releases the resources of a run, on the hub and at the node. Every method may be repeated until it succeeds. */
@Injectable()
export class UndoRun {
  private readonly log = loggerFor('UndoRun');

  constructor(
    private readonly commands: CommandBus,
    private readonly locate: LocateRun,
    private readonly changeIds: ChangeIdsInUse,
    private readonly recorder: RunRecorder,
    private readonly clock: Clock,
    private readonly nodes: NodeClient,
    private readonly files: RepositoryFiles,
    private readonly proven: ProvenFiles,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  async stopExports(backupId: string, exportIds: readonly string[]): Promise<void> {
    await Promise.all(exportIds.map(async (exportId) => this.commands.execute(new StopExport(exportId, await this.recorder.context(backupId)))));
  }

  /** Removes exports, ports and partial files of a failed or cancelled run. Exports go first, because a port that still listens is not free. */
  async undo(run: BackupRun): Promise<void> {
    const { request, plan } = run;
    await this.stopExports(
      request.backup_id,
      run.disks.flatMap((disk) => (disk.target === null ? [] : [disk.target.export_id])),
    );
    await this.commands.execute(new ReleaseJobPorts(request.backup_id, false, await this.recorder.context(request.backup_id)));
    const repositoryPath = await this.locate.repositoryPath(run);
    if (plan !== null && repositoryPath !== null) {
      await this.files.removePartial(repositoryPath, plan.folder);
      await this.removeUnrecordedPoint(repositoryPath, run, plan.folder);
    }
    await this.recorder.record(request.backup_id, { kind: 'record-undone', undone_at: this.clock.iso() });
  }

  /** Makes the node keep the change ids that chains need and drop everything else of this run. */
  async settle(run: BackupRun, outcome: 'committed' | 'discarded'): Promise<void> {
    const { request } = run;
    await this.settleAtNode(run, outcome);
    await this.recorder.record(request.backup_id, { kind: 'record-settled', outcome });
  }

  /** Removes a deleted restore point from its chain and its files from the repository. */
  async removeFiles(run: BackupRun): Promise<void> {
    const { request, plan } = run;
    if (plan !== null && run.sealed !== null) {
      await this.commands.execute(new RemoveRestorePoint(plan.chain_id, request.backup_id, await this.recorder.context(request.backup_id)));
      const repositoryPath = await this.locate.repositoryPath(run);
      if (repositoryPath !== null) await this.removeSealed(repositoryPath, plan.folder);
      await this.dropChangeIds(run);
    }
    await this.recorder.record(request.backup_id, { kind: 'record-files-removed', folder: plan?.folder ?? '' });
  }

  private async settleAtNode(run: BackupRun, outcome: 'committed' | 'discarded'): Promise<void> {
    const { request } = run;
    const [url, vm] = await Promise.all([this.locate.nodeUrl(run), this.locate.vm(run)]);
    if (url === null || vm === null) return;
    try {
      await this.nodes.settle(url, request.backup_id, {
        hub_id: this.hubId,
        outcome,
        vm: { source: vm.source, source_ref: vm.source_ref },
        keep_change_ids: await this.changeIds.of(request.vm_id),
      });
    } catch (error) {
      // A revoked node is no longer called. If it is enrolled again, its leftovers are found when it becomes available.
      if (!(error instanceof DomainError) || error.code !== 'node_revoked') throw error;
      this.log.info('the node was revoked, so the run cannot be settled there', { backup_id: request.backup_id });
    }
  }

  private async removeSealed(repositoryPath: string, folder: string): Promise<void> {
    await this.files.removeRestorePoint(repositoryPath, folder);
    await this.proven.forget(repositoryPath, folder);
  }

  /** No incremental starts from a deleted restore point. A node that is unavailable now drops the change ids when the VM's next backup is settled. */
  private async dropChangeIds(run: BackupRun): Promise<void> {
    try {
      await this.settleAtNode(run, 'committed');
    } catch (error) {
      this.log.info('could not drop the change ids of a deleted restore point; the node drops them when the next backup of the VM is settled', {
        backup_id: run.request.backup_id,
        error,
      });
    }
  }

  /** A run that was cancelled just as its restore point was renamed also has files under the final name. */
  private async removeUnrecordedPoint(repositoryPath: string, run: BackupRun, folder: string): Promise<void> {
    try {
      const manifest = await this.files.readManifest(repositoryPath, folder);
      if (manifest.backup_id !== run.request.backup_id) return;
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'gone') return;
      throw error;
    }
    if (run.plan !== null) {
      await this.commands.execute(new RemoveRestorePoint(run.plan.chain_id, run.request.backup_id, await this.recorder.context(run.request.backup_id)));
    }
    await this.removeSealed(repositoryPath, folder);
  }
}
