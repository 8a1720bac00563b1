import { Injectable } from '@nestjs/common';
import { messageOf } from '../../kernel/error-message.js';
import { Clock } from '../../lib/clock/clock.js';
import { NodeConfig } from '../node.config.js';
import { HubClient } from '../hub-link/hub-client.js';
import { loggerFor } from '../../lib/logging/logger.js';
import type { NodeJobReport } from '../../contract/node-api.js';

interface Line {
  /** Something has changed since the push under way was made. */
  stale: boolean;
}

/**
 * Tells the hub how jobs stand. At most one push per job is under way; what changes meanwhile goes into the next one, which has the whole truth again, so nothing
 * piles up while the hub is away, and what gets lost the hub asks for itself.
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

  /** Returns at once. */
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

  /** Logs changes only: a hub that is away is away for many pushes. */
  private note(problem: string | null): void {
    if (problem !== null && !this.hubAway)
      this.logger.warn('the hub does not take telemetry; it will ask when it is back', { hub_url: this.config.hubUrl, problem });
    if (problem === null && this.hubAway) this.logger.info('the hub takes telemetry again', { hub_url: this.config.hubUrl });
    this.hubAway = problem !== null;
  }
}
