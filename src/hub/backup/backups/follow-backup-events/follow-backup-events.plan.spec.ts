import { describe, expect, it } from '@jest/globals';
import { isAtRest } from './follow-backup-events.plan.js';

describe('the history of a run', () => {
  it.each([
    ['is completed and has its change tracking settled', ['BackupRequested', 'BackupCompleted', 'ChangeTrackingSettled']],
    ['has failed before it reached the node, and is undone', ['BackupRequested', 'BackupFailed', 'BackupUndone']],
    ['has failed after it reached the node, is undone and settled there', ['TransferRequested', 'BackupFailed', 'BackupUndone', 'ChangeTrackingSettled']],
    ['was cancelled before it reached the node, and is undone', ['BackupRequested', 'BackupCancelled', 'BackupUndone']],
    ['was cancelled after it reached the node, is undone and settled there', ['TransferRequested', 'BackupCancelled', 'BackupUndone', 'ChangeTrackingSettled']],
    ['was imported', ['RestorePointImported']],
    ['was deleted and its files are gone', ['BackupCompleted', 'ChangeTrackingSettled', 'BackupDeleted', 'RestorePointFilesRemoved']],
  ])('is at rest when it %s', (_what, types) => {
    expect(isAtRest(new Set(types))).toBe(true);
  });

  it.each([
    ['has no end', ['BackupRequested', 'TransferRequested', 'RestorePointSealed']],
    ['is completed, but its change tracking is not settled', ['BackupRequested', 'BackupCompleted']],
    ['has failed, but is not undone', ['BackupRequested', 'BackupFailed', 'ChangeTrackingSettled']],
    ['has failed after it reached the node, which has not confirmed', ['TransferRequested', 'BackupFailed', 'BackupUndone']],
    ['was cancelled, but is not undone', ['BackupRequested', 'BackupCancelled']],
    ['was cancelled after it reached the node, which has not confirmed', ['TransferRequested', 'BackupCancelled', 'BackupUndone']],
    ['was deleted, but its files are there', ['BackupCompleted', 'ChangeTrackingSettled', 'BackupDeleted']],
    ['was imported and deleted, but its files are there', ['RestorePointImported', 'BackupDeleted']],
  ])('is not at rest when it %s', (_what, types) => {
    expect(isAtRest(new Set(types))).toBe(false);
  });
});
