import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { messageOf } from '../../kernel/error-message.js';
import { Clock } from '../../lib/clock/clock.js';
import { NodeConfig } from '../node.config.js';
import { HubClient } from './hub-client.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { type Repetition, repeat } from '../../lib/process/repeat.js';
import { readTunnelJournal } from '../../tunnel/interface/tunnel-journal.js';

const LOOK_MS = 1_000;

/**
 * Reports the state of the tunnel to the hub. The tunnel program has no token; it writes a journal, and this service sends new entries as soon as the hub is
 * reachable, until the hub accepts them. After a restart it sends all of them again, and the hub skips those it knows.
 */
@Injectable()
export class TunnelReport implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = loggerFor('TunnelReport');
  private readonly hub: HubClient;
  private told: { readonly journalId: string; readonly number: number } | null = null;
  private telling = false;
  private problem: string | null = null;
  private looking: Repetition | null = null;

  constructor(
    private readonly config: NodeConfig,
    clock: Clock,
  ) {
    this.hub = new HubClient(config, clock);
  }

  onApplicationBootstrap(): void {
    // A node on the hub's own machine has no tunnel.
    if (this.config.besideHub) return;
    this.looking = repeat(
      () => LOOK_MS,
      () => {
        if (this.telling) return;
        this.telling = true;
        this.tell()
          .then(
            () => this.note(null),
            (error: unknown) => this.note(messageOf(error)),
          )
          .finally(() => {
            this.telling = false;
          });
      },
    );
  }

  onApplicationShutdown(): void {
    this.looking?.stop();
  }

  private async tell(): Promise<void> {
    const journal = await readTunnelJournal(this.config.tunnelDirectory);
    const newest = journal?.transitions.at(-1);
    if (journal === null || newest === undefined || this.config.nodeId === null) return;
    const known = this.told?.journalId === journal.journal_id ? this.told.number : 0;
    const transitions = journal.transitions.filter(({ number }) => number > known);
    if (transitions.length === 0) return;
    const { status } = await this.hub.post(`/api/v1/telemetry/tunnel/${encodeURIComponent(this.config.nodeId)}`, {
      journal_id: journal.journal_id,
      transitions,
    });
    if (status >= 300) throw new Error(`the hub answered ${status}`);
    this.told = { journalId: journal.journal_id, number: newest.number };
  }

  /** Logs only transitions, because a tunnel that is down fails many polls. */
  private note(problem: string | null): void {
    if (problem !== null && this.problem === null) this.logger.info('the state of the tunnel cannot be reported to the hub now', { problem });
    this.problem = problem;
  }
}
