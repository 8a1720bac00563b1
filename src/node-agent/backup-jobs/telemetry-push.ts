import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { NodeConfig } from '../../platform/config/node.config.js';
import { loggerFor } from '../../platform/logging/logger.js';
import type { NodeJobReport } from '../../platform/node-api/node-api.js';

const PUSH_DEADLINE_MS = 5_000;

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
  private token: string | null = null;
  private hubAway = false;

  constructor(private readonly config: NodeConfig) {}

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
      const body = JSON.stringify(await report());
      this.token ??= (await readFile(this.config.tokenFile, 'utf8')).trim();
      const response = await fetch(new URL(`/api/v1/telemetry/backup/${encodeURIComponent(jobId)}`, this.config.hubUrl), {
        method: 'POST',
        body,
        signal: AbortSignal.timeout(PUSH_DEADLINE_MS),
        // A redirect would carry the token to where it says.
        redirect: 'manual',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${this.token}`, 'x-sendense-node': this.config.nodeId ?? 'unnamed' },
      });
      await response.body?.cancel();
      // The file may have been replaced; it is read again next time.
      if (response.status === 401 || response.status === 403) this.token = null;
      this.note(response.ok ? null : `it answered ${response.status}`);
    } catch (error) {
      this.note(error instanceof Error ? error.message : String(error));
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
