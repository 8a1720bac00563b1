import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { runWithCorrelation } from '../../../../lib/logging/correlation.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { asDomainEvent } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import type { RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { type StoredBackupEvent, upcastBackupEvent } from '../model/backup.events.js';

/** Logs the outline of every backup, under the correlation id of its request. */
@Injectable()
export class NarrateBackupsReactor implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('RunBackup');
  private events: Subscription | null = null;

  constructor(private readonly feed: EventFeed) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup').subscribe((event) => runWithCorrelation(event.metadata.$correlationId, () => this.narrate(event)));
  }

  onApplicationShutdown(): void {
    this.events?.unsubscribe();
  }

  private narrate(recorded: RecordedEvent): void {
    const event = upcastBackupEvent(asDomainEvent<StoredBackupEvent>(recorded));
    const backup_id = recorded.stream.slice('backup-'.length);
    switch (event.type) {
      case 'BackupQueued':
        this.log.info('backup queued', { backup_id, waiting_for: event.data.waiting_for });
        break;
      case 'BackupPlannedV2': {
        const { backup_type, full_reason, folder, disks } = event.data;
        this.log.info('backup planned', { backup_id, backup_type, full_reason, folder, disks: disks.length });
        break;
      }
      case 'BackupCompleted':
        this.log.info('backup completed', { backup_id });
        break;
      case 'BackupCancelled':
        this.log.info('backup cancelled', { backup_id, actor: recorded.metadata.actor });
        break;
      case 'BackupFailed': {
        const { stage, code, detail } = event.data;
        this.log.warn('backup failed', { backup_id, stage, code, detail });
        break;
      }
      default:
        // Intermediate steps are only in the backup's own events.
        break;
    }
  }
}
