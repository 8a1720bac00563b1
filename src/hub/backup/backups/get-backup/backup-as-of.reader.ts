import { Injectable } from '@nestjs/common';
import { foldBackup } from '../../../../../projections/backups/backup-as-of.read-model.js';
import type { FoldedBackup } from '../../../../../projections/backups/backups.read-model.js';
import { chainStream } from '../../chains/model/chain.events.js';
import { nbdExportStream } from '../../../exports/nbd-exports/model/nbd-export.events.js';
import { EventStore, type RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { backupStream } from '../model/backup.events.js';

/** A backup as it was at a given time, folded from its events by the projection of the read model. */
@Injectable()
export class BackupAsOf {
  constructor(private readonly store: EventStore) {}

  /** @returns null if the backup had not been requested at that time @throws EventStoreUnavailableError */
  async find(backupId: string, time: Date): Promise<FoldedBackup | null> {
    const events = await this.readUntil(backupStream(backupId), time);
    for (const exportId of events.flatMap(exportIdOf)) events.push(...(await this.readUntil(nbdExportStream(exportId), time)));
    for (const chainId of events.flatMap(chainIdOf))
      events.push(...(await this.readUntil(chainStream(chainId), time)).filter((event) => damages(event, backupId)));
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

/** The plan of a backup and an imported restore point name their chain. */
function chainIdOf(event: RecordedEvent): string[] {
  const chainId = event.data['chain_id'];
  return typeof chainId === 'string' ? [chainId] : [];
}

/** Whether an event of the chain marks this backup as damaged. */
function damages(event: RecordedEvent, backupId: string): boolean {
  return event.type === 'RestorePointDamaged' && event.data['backup_id'] === backupId;
}
