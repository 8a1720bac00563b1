import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { type RefusalReport, Refusals } from '../../../../lib/http/refusals.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { type RequestsRefused, refusalStream } from '../model/refusal.events.js';

/** Writes the reports of refused requests, at most one a minute per source. */
@Injectable()
export class RefusalsRecorder implements OnModuleInit {
  private readonly log = loggerFor('RefusalsRecorder');

  constructor(
    private readonly refusals: Refusals,
    private readonly store: EventStore,
    private readonly clock: Clock,
    private readonly ids: Ids,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  onModuleInit(): void {
    this.refusals.onReport((report) => void this.record(report));
  }

  private async record(report: RefusalReport): Promise<void> {
    const event: RequestsRefused = { type: 'RequestsRefused', data: { ...report } };
    const id = this.ids.next();
    const metadata = { $correlationId: id, $causationId: id, actor: 'system:refusals', hub_id: this.hubId, schema_version: 1, time: this.clock.iso() };
    try {
      await this.store.append(refusalStream(report.source_address), 'any', [{ id, type: event.type, data: event.data, metadata }]);
    } catch (error) {
      this.log.warn('could not record refused requests', { ...report, error });
    }
  }
}
