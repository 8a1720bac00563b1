import { Injectable } from '@nestjs/common';
import { derivedId } from '../../../../lib/clock/clock.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { backupStream } from './backup.events.js';

/** The backup that a StartBackup makes. */
export function backupIdOf(commandId: string): string {
  return derivedId(`backup/${commandId}`);
}

/** Correlation ids of backup requests. Everything that follows from a backup, including its node's reports, is recorded under this id. */
@Injectable()
export class BackupCorrelations {
  private readonly known = new Map<string, string>();

  constructor(private readonly store: EventStore) {}

  async of(backupId: string): Promise<string> {
    const known = this.known.get(backupId);
    if (known !== undefined) return known;
    for await (const first of this.store.read(backupStream(backupId), { limit: 1 })) {
      this.known.set(backupId, first.metadata.$correlationId);
      return first.metadata.$correlationId;
    }
    return backupId;
  }

  forget(backupId: string): void {
    this.known.delete(backupId);
  }
}
