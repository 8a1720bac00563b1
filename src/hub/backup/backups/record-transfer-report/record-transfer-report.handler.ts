import { CommandBus, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { ExamineExport } from '../../../exports/nbd-exports/model/nbd-export.commands.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { LiveProgress } from '../model/live-progress.registry.js';
import { NodeCredentials } from '../../../../lib/signed-calls/node-credentials.js';
import { BackupCorrelations } from '../model/backup-correlation.reader.js';
import { RecordTransferReport } from '../model/backup.commands.js';
import { backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideRecordTransferReport } from './record-transfer-report.decide.js';

const decider = backupDecider(decideRecordTransferReport);

/** Interval at which progress smaller than a step is recorded, in milliseconds. */
const PROGRESS_INTERVAL_MS = 5_000;

@CommandHandler(RecordTransferReport)
export class RecordTransferReportHandler implements ICommandHandler<RecordTransferReport> {
  private readonly recordedAtMs = new Map<string, number>();

  constructor(
    private readonly commands: CommandBus,
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly live: LiveProgress,
    private readonly credentials: NodeCredentials,
    private readonly correlations: BackupCorrelations,
  ) {}

  async execute(command: RecordTransferReport): Promise<void> {
    const { report, context, told } = command;
    if (told !== undefined) await this.requireOwnJob(report.job_id, told.by);
    if (!this.live.offer(report)) return;
    const stream = backupStream(report.job_id);
    const nowMs = performance.now();
    const last = this.recordedAtMs.get(report.job_id) ?? nowMs;
    this.recordedAtMs.set(report.job_id, last);
    const progressDue = nowMs - last >= PROGRESS_INTERVAL_MS;
    const exportEnded = report.status === 'failed' && (await this.anyExportEnded(stream));
    const outcome = await this.runner.run(
      stream,
      decider,
      { kind: 'record-transfer-report', report, progress_due: progressDue, export_ended: exportEnded, now: this.clock.iso() },
      // A node's report is a consequence of the backup request, not of the node's own call.
      { ...context, correlationId: await this.correlations.of(report.job_id) },
    );
    if (outcome.events.length > 0) this.recordedAtMs.set(report.job_id, nowMs);
    if (outcome.state.status !== 'running' || outcome.state.run.snapshot_released) {
      this.recordedAtMs.delete(report.job_id);
    }
  }

  /** A node may report only on its own jobs. Nodes that share a token cannot be distinguished, but none of them may report on the job of an enrolled node. */
  private async requireOwnJob(jobId: string, caller: string | null): Promise<void> {
    const { state } = await this.runner.load(backupStream(jobId), decider);
    const owner = state.status === 'none' ? null : (this.credentials.ofNode(state.run.request.node_id)?.nodeId ?? null);
    if (owner !== caller) {
      throw new DomainError('forbidden', 'not_your_job', `Job ${jobId} does not belong to this node.`, { job_id: jobId });
    }
  }

  /**
   * A copy that loses its target fails before the hub notices the end of the export. Checking the exports here lets the hub report the cause, not the
   * consequence.
   */
  private async anyExportEnded(stream: string): Promise<boolean> {
    const { state } = await this.runner.load(stream, decider);
    if (state.status !== 'running') return false;
    const outcomes = await Promise.all(
      state.run.disks.flatMap(({ target }) => (target === null ? [] : [this.commands.execute(new ExamineExport(target.export_id))])),
    );
    return outcomes.some((outcome) => outcome.status === 'exited');
  }
}
