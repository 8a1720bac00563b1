import { Injectable } from '@nestjs/common';
import { messageOf } from '../../kernel/error-message.js';
import { Clock } from '../../lib/clock/clock.js';
import { NodeConfig } from '../node.config.js';
import { HubClient } from '../hub-link/hub-client.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodeJobReport } from '../../contract/backup-job.js';

interface Line {
  /** Set if the job changed after the current push was composed. */
  stale: boolean;
}

/**
 * Pushes the state of jobs to the hub. Each job has at most one push in progress; changes in the meantime go into the next one, which is complete again. So
 * nothing accumulates while the hub is unreachable, and the hub asks for reports that got lost.
 */
@Injectable()
export class TelemetryPush {
  private readonly logger = loggerFor('TelemetryPush');
  private readonly lines = new Map<string, Line>();
  private readonly hub: HubClient;
  private hubAway = false;

  constructor(
    private readonly config: NodeConfig,
    clock: Clock,
  ) {
    this.hub = new HubClient(config, clock);
  }

  /** Returns immediately. */
  announce(jobId: string, report: () => Promise<NodeJobReport>): void {
    const line = this.lines.get(jobId);
    if (line !== undefined) {
      line.stale = true;
      return;
    }
    this.lines.set(jobId, { stale: false });
    void this.pushAll(jobId, report);
  }

  private async pushAll(jobId: string, report: () => Promise<NodeJobReport>): Promise<void> {
    const line = this.lines.get(jobId);
    do {
      if (line !== undefined) line.stale = false;
      await this.push(jobId, report);
    } while (line?.stale === true);
    this.lines.delete(jobId);
  }

  private async push(jobId: string, report: () => Promise<NodeJobReport>): Promise<void> {
    try {
      const { status } = await this.hub.post(`/api/v1/telemetry/backup/${encodeURIComponent(jobId)}`, await report());
      this.note(status < 300 ? null : `it answered ${status}`);
    } catch (error) {
      this.note(messageOf(error));
    }
  }

  /** Logs only transitions, because an unreachable hub fails many pushes. */
  private note(problem: string | null): void {
    if (problem !== null && !this.hubAway)
      this.logger.warn('the hub does not accept telemetry; it will query the jobs when it is back', { hub_url: this.config.hubUrl, problem });
    if (problem === null && this.hubAway) this.logger.info('the hub accepts telemetry again', { hub_url: this.config.hubUrl });
    this.hubAway = problem !== null;
  }
}
