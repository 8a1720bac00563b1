import { Inject, Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { DomainError } from '../../../../kernel/domain-error.js';
import { RequestExport } from '../../../exports/nbd-exports/model/nbd-export.commands.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';
import { LiveProgress } from '../model/live-progress.registry.js';
import { exportSocket, type ExportTransport, readExportKey } from '../../../exports/nbd-servers/export-access.js';
import { exportUri } from '../../../../lib/nbd/nbd-uri.js';
import type { NodeJobReport } from '../../../../contract/backup-job.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { localNodeId } from '../../../nodes/local-node/local-node-id.js';
import { RecordTransferReport } from '../model/backup.commands.js';
import type { BackupRun, DiskTarget, RunDisk } from '../model/backup.state.js';
import { LocateRun } from './locate-run.step.js';
import { nbdTargetsString } from './nbd-targets.plan.js';
import { RunRecorder } from './record-run.recorder.js';

/** For an export on a socket. By default qemu-nbd serves one client, and a second one hangs forever. A copy makes several connections. */
const SHARED_LIMIT = 20;
/** For an export that strangers can connect to: with a limit, they could take the places of clients that have the key. */
const NO_LIMIT = 0;
/** A node that has been silent for this long is polled. It pushes twice a second while it copies. */
const ASK_AFTER_SILENCE_MS = 2_500;

/** Copies every disk to files that are ready to be served. */
@Injectable()
export class TransferRun {
  /** By job without any report yet: performance.now() when this process began to wait for one. */
  private readonly waitingSinceMs = new Map<string, number>();
  /** Jobs that this process has started at the node. */
  private readonly told = new Set<string>();

  constructor(
    private readonly commands: CommandBus,
    private readonly locate: LocateRun,
    private readonly recorder: RunRecorder,
    private readonly clock: Clock,
    private readonly config: HubConfig,
    private readonly nodes: NodeClient,
    private readonly live: LiveProgress,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  /** Starts the exports that are not running yet. A failed start is an outcome, recorded in the export's own stream. */
  async startExports(run: BackupRun, targets: readonly DiskTarget[]): Promise<void> {
    const transport = await this.transportTo(run.request.node_id);
    await Promise.all(
      targets.map(async (target) =>
        this.commands.execute(
          new RequestExport(
            {
              exportId: target.export_id,
              jobId: run.request.backup_id,
              exportName: target.export_name,
              port: target.nbd_port,
              file: target.qcow2_path,
              readOnly: false,
              sharedLimit: transport === 'unix' ? SHARED_LIMIT : NO_LIMIT,
              transport,
            },
            await this.recorder.context(run.request.backup_id),
          ),
        ),
      ),
    );
  }

  async requestTransfer(run: BackupRun): Promise<void> {
    const transport = await this.transportTo(run.request.node_id);
    await this.recorder.record(run.request.backup_id, {
      kind: 'record-transfer-requested',
      data: {
        node_id: run.request.node_id,
        nbd_targets_string: nbdTargetsString(run.disks.filter(hasTarget), ({ export_id, export_name, nbd_port }) =>
          exportUri(
            transport === 'unix' ? { socket: exportSocket(this.config.runDirectory, export_id) } : { host: this.config.nbdAdvertiseHost, port: nbd_port },
            export_name,
          ),
        ),
        requested_at: this.clock.iso(),
      },
    });
  }

  /**
   * Makes sure that the node works on the job and that its reports arrive. Starts the job if the node does not have it, polls a silent node, and fails the
   * run if the node stays silent too long. A silent node is treated as silent, not as failed.
   */
  async watch(run: BackupRun): Promise<void> {
    const jobId = run.request.backup_id;
    const now = performance.now();
    const heardAt = this.live.heard(jobId)?.heardAtMs ?? null;
    if (heardAt === null && !this.waitingSinceMs.has(jobId)) this.waitingSinceMs.set(jobId, now);
    const silentMs = now - (heardAt ?? this.waitingSinceMs.get(jobId) ?? now);
    if (heardAt !== null && silentMs < ASK_AFTER_SILENCE_MS) return;

    const url = await this.locate.nodeUrl(run);
    if (url === null) throw new DomainError('conflict', 'node_not_found', `Node ${run.request.node_id} was removed while the backup ran.`);
    let report: NodeJobReport | null;
    try {
      report = this.told.has(jobId) || run.instant !== null ? await this.nodes.getJob(url, jobId) : await this.startJob(url, run);
    } catch (error) {
      await this.onNoAnswer(run, silentMs, error);
      return;
    }
    if (report === null) {
      if (run.instant !== null) throw new DomainError('conflict', 'node_lost_job', 'The node no longer knows this transfer.');
      report = await this.startJob(url, run);
    }
    await this.commands.execute(new RecordTransferReport(report, await this.recorder.context(jobId)));
  }

  forget(backupId: string): void {
    this.waitingSinceMs.delete(backupId);
    this.told.delete(backupId);
    this.live.forget(backupId);
  }

  /** A node on this machine that runs under the same account needs no port. */
  private async transportTo(nodeId: string): Promise<ExportTransport> {
    return nodeId === (await localNodeId(this.config.dataDirectory)) ? 'unix' : 'tls';
  }

  private async startJob(url: string, run: BackupRun): Promise<NodeJobReport> {
    const vm = await this.locate.vm(run);
    if (vm === null) throw new DomainError('conflict', 'vm_not_found', `VM "${run.request.vm_name}" was removed while the backup ran.`);
    const report = await this.nodes.startBackup(url, {
      job_id: run.request.backup_id,
      hub_id: this.hubId,
      vm,
      nbd_targets_string: run.nbd_targets_string ?? '',
      disks: await Promise.all(
        run.disks.map(async ({ planned, target }) => {
          const key = target === null ? null : await readExportKey(this.config.runDirectory, target.export_id);
          return {
            disk_key: planned.disk_key,
            size_bytes: planned.size_bytes,
            parent_change_id: planned.parent_change_id,
            ...(key === null ? {} : { export_key: key }),
          };
        }),
      ),
      quiesce: run.options.quiesce,
      ...(run.options.bandwidth_limit_bps === null ? {} : { bandwidth_limit_bps: run.options.bandwidth_limit_bps }),
    });
    this.told.add(run.request.backup_id);
    return report;
  }

  /** Tolerates silence, invalid answers and temporary refusals (503) up to the limit. Any other refusal fails the run. */
  private async onNoAnswer(run: BackupRun, silentMs: number, error: unknown): Promise<void> {
    const passing =
      error instanceof DomainError &&
      ['upstream_unreachable', 'upstream_silent', 'upstream_broken', 'unavailable'].includes(error.kind) &&
      error.code !== 'node_refused_token';
    if (!passing) throw error;
    if (silentMs >= this.config.failAfterSilentSeconds * 1000) {
      const what = error.kind === 'unavailable' ? 'The node refused the transfer' : 'No report on the transfer arrived';
      throw new DomainError(error.kind, error.code, `${what} for ${Math.round(silentMs / 1000)} s. ${error.message}`, error.facts);
    }
    if (silentMs >= this.config.stallAfterSeconds * 1000) {
      const since = new Date(this.clock.now().getTime() - silentMs).toISOString();
      await this.recorder.record(run.request.backup_id, { kind: 'record-stalled', silent_since: since });
    }
  }
}

function hasTarget(disk: RunDisk): disk is RunDisk & { readonly target: DiskTarget } {
  return disk.target !== null;
}
