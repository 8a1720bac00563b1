import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '../../../../kernel/domain-error.js';
import { HealthChecks } from '../../../../lib/http/health-checks.js';
import { MetricsRegistry } from '../../../../lib/http/metrics-registry.js';
import { LastCheckpoint } from '../model/last-checkpoint.service.js';
import { Ledger } from '../model/ledger.reader.js';

const RETRY_MS = 5_000;

/** Reports, from the start of the hub, whether the history continues the last checkpoint. The hub stays ready: backups do not depend on the ledger. */
@Injectable()
export class LedgerWatch implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  private readonly stopping = new AbortController();

  constructor(
    private readonly ledger: Ledger,
    private readonly last: LastCheckpoint,
    private readonly checks: HealthChecks,
    private readonly metrics: MetricsRegistry,
  ) {}

  onModuleInit(): void {
    this.checks.register({
      name: 'ledger',
      required: false,
      check: async () => {
        if (this.ledger.refusal === null) return;
        // An operator may have put it right. The answer is public, so it names no file.
        await this.ledger.checkpoint().catch(() => {
          throw new DomainError('conflict', 'checkpoint_refused', 'The history does not continue the last signed checkpoint; see the log of the hub.');
        });
      },
    });
    this.metrics.gauge({
      name: 'sendense_ledger_events',
      help: 'Events that the ledger covers',
      collect: async (gauge) => gauge.set((await this.ledger.tree()).size),
    });
    this.metrics.gauge({
      name: 'sendense_ledger_checkpoint_events',
      help: 'Events that the last signed checkpoint covers',
      collect: async (gauge) => {
        const last = await this.last.read();
        if (last === null) gauge.remove();
        else gauge.set(last.size);
      },
    });
    this.metrics.gauge({
      name: 'sendense_ledger_checkpoint_timestamp_seconds',
      help: 'When the last checkpoint was signed, in seconds since 1970',
      collect: async (gauge) => {
        const last = await this.last.read();
        if (last === null) gauge.remove();
        else gauge.set(last.signedAt.getTime() / 1000);
      },
    });
    this.metrics.gauge({
      name: 'sendense_ledger_checkpoint_refused',
      help: '1 while no checkpoint is signed because the history does not continue the last one',
      collect: (gauge) => gauge.set(this.ledger.refusal === null ? 0 : 1),
    });
  }

  onApplicationBootstrap(): void {
    void this.compare();
  }

  onModuleDestroy(): void {
    this.stopping.abort();
  }

  /** Repeats until it knows: at the start the database may be away, or the ledger behind. */
  private async compare(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      const isSigned = await this.ledger.checkpoint().then(
        () => true,
        () => false,
      );
      if (isSigned || this.ledger.refusal !== null) return;
      await pause(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
