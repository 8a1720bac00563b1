import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { backupsProjection } from './backups.projection.js';
import type { BackupRow, FoldedBackup } from './backups.read-model.js';

/** Folds the events of one backup, its exports and its chain, ordered by position; null if they give no row. */
export function foldBackup(events: readonly RecordedEvent[]): FoldedBackup | null {
  const folded = foldFromZero(backupsProjection, events)[0];
  // foldFromZero does not know the row type of this projection.
  return folded === undefined ? null : { ...(folded.row as BackupRow), position: folded.position };
}
