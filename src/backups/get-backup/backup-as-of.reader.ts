import { Injectable } from '@nestjs/common';
import { foldBackup, type FoldedBackup } from '../../../projections/backups/backups.read-model.js';
import { nbdExportStream } from '../../nbd-exports/model/nbd-export.events.js';
import { EventStore, type RecordedEvent } from '../../platform/event-store/event-store.port.js';
import { backupStream } from '../model/backup.events.js';

/** A backup as it stood at a time, folded from its events by the projection of the read model. */
@Injectable()
export class BackupAsOf {
  constructor(private readonly store: EventStore) {}

  /** @returns null where it had not been asked for at that time @throws EventStoreUnavailableError */
  async find(backupId: string, time: Date): Promise<FoldedBackup | null> {
    const events = await this.readUntil(backupStream(backupId), time);
    for (const exportId of events.flatMap(exportIdOf)) events.push(...(await this.readUntil(nbdExportStream(exportId), time)));
    events.sort((a, b) => (a.position < b.position ? -1 : 1));
    return foldBackup(events);
  }

  private async readUntil(stream: string, time: Date): Promise<RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    for await (const event of this.store.read(stream)) {
      if (Date.parse(event.metadata.time) > time.getTime()) break;
      events.push(event);
    }
    return events;
  }
}

function exportIdOf(event: RecordedEvent): string[] {
  const exportId = event.type === 'DiskTargetCreated' ? event.data['export_id'] : undefined;
  return typeof exportId === 'string' ? [exportId] : [];
}
