import { Inject, Injectable } from '@nestjs/common';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { HUB_ID } from '../../../store/event-store/command-runner.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import type { AccessReader, AccessToRecord, RecordAccessEnd } from '../model/access.commands.js';
import { type AccessEvent, accessStream } from '../model/access.events.js';
import { isLook, lookKey } from './repeated-look.plan.js';

/** The same look is recorded at most once in this period. */
const SAME_LOOK_MS = 60_000;
/** Maximum number of remembered looks. Beyond it the oldest is forgotten and would be recorded again. */
const MAX_LOOKS = 10_000;

/** Writes the access log. Its streams are never folded, so the cost of an append does not depend on their length. */
@Injectable()
export class AccessRecorder {
  private readonly log = loggerFor('AccessRecorder');
  /** Ordered by time. */
  private readonly looks = new Map<string, { readonly accessId: string; readonly at: number }>();

  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
    private readonly ids: Ids,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  /** @throws EventStoreUnavailableError */
  async begun(access: AccessToRecord, reader: AccessReader): Promise<string> {
    const key = isLook(access.operation) ? lookKey(access, reader) : null;
    const now = this.clock.now();
    const earlier = key === null ? undefined : this.looks.get(key);
    if (earlier !== undefined && now.getTime() - earlier.at < SAME_LOOK_MS) return earlier.accessId;
    const accessId = this.ids.next();
    const data = { ...access, access_id: accessId, source_address: reader.sourceAddress, accessed_at: now.toISOString() };
    await this.append(access.backup_id, { type: 'RestorePointAccessed', data }, accessId, reader);
    if (key !== null) this.remember(key, accessId, now.getTime());
    return accessId;
  }

  async ended(backupId: string, end: RecordAccessEnd['end'], reader: AccessReader): Promise<void> {
    try {
      await this.append(backupId, { type: 'RestorePointAccessEnded', data: { ...end, ended_at: this.clock.iso() } }, end.access_id, reader);
    } catch (error) {
      this.log.warn('could not record the end of a download', { backup_id: backupId, ...end, error });
    }
  }

  private remember(key: string, accessId: string, at: number): void {
    this.looks.delete(key);
    this.looks.set(key, { accessId, at });
    for (const [oldest, look] of this.looks) {
      if (this.looks.size <= MAX_LOOKS && at - look.at < SAME_LOOK_MS) break;
      this.looks.delete(oldest);
    }
  }

  private async append(backupId: string, event: AccessEvent, accessId: string, { actor, correlationId }: AccessReader): Promise<void> {
    const metadata = { $correlationId: correlationId, $causationId: accessId, actor, hub_id: this.hubId, schema_version: 1, time: this.clock.iso() };
    await this.store.append(accessStream(backupId), 'any', [{ id: this.ids.next(), type: event.type, data: event.data, metadata }]);
  }
}
