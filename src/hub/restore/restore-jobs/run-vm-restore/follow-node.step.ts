import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { readExportKey } from '../../../exports/nbd-servers/export-access.js';
import type { NodeStartVmRestore, NodeVmRestoreReport } from '../../../../contract/vm-restore.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import type { KnownVmRestore } from '../model/vm-restore.state.js';
import { publishedExportId } from './publish-disks.step.js';

const POLL_MS = 500;
/** Progress is recorded after a growth of this many percentage points. */
const RECORD_PERCENT = 10;
/** Codes for a node that does not answer at the moment. */
const SILENT: ReadonlySet<string> = new Set(['node_unreachable', 'node_silent', 'node_broken_answer']);

/** The hub's exchange with the node about one restore. The node's job has the id of the hub's job. */
@Injectable()
export class FollowNode {
  private readonly log = loggerFor('FollowVmRestore');

  constructor(
    private readonly recorder: VmRestoreRecorder,
    private readonly progress: RestoreProgress,
    private readonly nodes: NodeClient,
    private readonly files: RepositoryFiles,
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly clock: Clock,
  ) {}

  /**
   * Follows the node's job until it has ended and its outcome is recorded. The restore completes only after sourcesVerified.
   * @throws DomainError the node's failure; node_unreachable and the like after failAfterSilentSeconds; the signal's reason
   */
  async follow(state: KnownVmRestore, sourcesVerified: Promise<void>, signal: AbortSignal): Promise<void> {
    let heardAt = performance.now();
    for (;;) {
      signal.throwIfAborted();
      try {
        const url = await this.urlOf(state.job.node_id);
        const report = (await this.nodes.getVmRestore(url, state.job.job_id)) ?? (await this.nodes.startVmRestore(url, await this.bodyOf(state)));
        heardAt = performance.now();
        await this.reportProgress(state, report);
        if (report.status !== 'running') {
          await this.conclude(state, report, sourcesVerified);
          return;
        }
      } catch (error) {
        if (!(error instanceof DomainError) || !SILENT.has(error.code)) throw error;
        if (performance.now() - heardAt > this.config.failAfterSilentSeconds * 1000) throw error;
      }
      await pause(POLL_MS, undefined, { signal });
    }
  }

  /** Settles the node's job, keeping or discarding what it has created. A node that is no longer registered cannot be reached. */
  async settle(state: KnownVmRestore): Promise<void> {
    const { job } = state;
    this.progress.forget(job.job_id);
    if (!state.sent) return;
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: job.node_id });
    if (node === null) {
      this.log.warn('the node of a VM restore is no longer registered; anything left of the restore stays on it', { job_id: job.job_id, node_id: job.node_id });
      return;
    }
    await this.nodes.settleVmRestore(node.url, job.job_id, { outcome: state.status === 'completed' && job.mode === 'copy' ? 'keep' : 'discard' });
  }

  private async conclude(state: KnownVmRestore, report: NodeVmRestoreReport, sourcesVerified: Promise<void>): Promise<void> {
    if (report.status !== 'completed' || report.domain === null) {
      const { code, detail } = report.error ?? { code: 'node_job_lost', detail: 'The node ended the restore without a result.' };
      throw new DomainError('conflict', code, detail);
    }
    await sourcesVerified;
    await this.recorder.record(state.job.job_id, {
      kind: 'completed',
      uuid: report.domain.uuid,
      files: report.disks.flatMap(({ file }) => (file === null ? [] : [file])),
      changes: report.changes,
      started: state.job.start && report.start_error === null,
      start_error: report.start_error,
      completed_at: this.clock.iso(),
    });
  }

  private async reportProgress({ job }: KnownVmRestore, report: NodeVmRestoreReport): Promise<void> {
    const { state } = await this.recorder.load(job.job_id);
    const known = state.status === 'none' ? null : state.progress;
    for (const { disk_id, disk_key } of job.disks) {
      const told = report.disks.find((disk) => disk.disk_key === disk_key);
      if (told === undefined || told.status === 'pending') continue;
      if (told.status !== 'completed') this.progress.set(job.job_id, disk_id, told.status, told.status === 'copying' ? told.percent : 0);
      const before = known?.get(disk_id);
      if (before?.phase === told.status && told.percent < before.percent + RECORD_PERCENT) continue;
      await this.recorder.record(job.job_id, { kind: 'disk_progressed', disk_id, phase: told.status, percent: Math.floor(told.percent) });
    }
  }

  private async bodyOf({ job, uris }: KnownVmRestore): Promise<NodeStartVmRestore> {
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneByOrFail({ backup_id: job.backup_id });
    const { definition } = await this.files.readRecordedManifest(job.repository_path, job.folder, backup.manifest_sha256);
    if (definition === null)
      throw new DomainError('conflict', 'definition_missing', `The manifest of restore point ${job.backup_id} contains no VM definition.`);
    return {
      job_id: job.job_id,
      definition,
      name: job.name,
      uuid: job.uuid,
      keep_identity: job.keep_identity,
      start: job.start,
      network: job.network,
      libvirt_network: job.libvirt_network,
      storage_path: job.storage_path,
      disks: await Promise.all(
        job.disks.map(async ({ disk_id, disk_key, virtual_size_bytes, file_name }) => {
          const key = await readExportKey(this.config.runDirectory, publishedExportId(job.job_id, disk_id));
          return {
            disk_key,
            size_bytes: virtual_size_bytes,
            uri: uris.get(disk_id) ?? '',
            file_name,
            ...(key === null ? {} : { export_key: key }),
          };
        }),
      ),
    };
  }

  private async urlOf(nodeId: string): Promise<string> {
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: nodeId });
    if (node === null) throw new DomainError('not_found', 'node_not_found', `Node ${nodeId} is not registered.`, { node_id: nodeId });
    return node.url;
  }
}
