/**
 * Whether a run's history has come to rest: what ends it has been recorded, and what tidies up after it too. A failed or cancelled run that had reached the node needs both its undoing
 * and the node's confirmation.
 */
export function isAtRest(types: ReadonlySet<string>): boolean {
  if (types.has('BackupDeleted')) return types.has('RestorePointFilesRemoved');
  if (types.has('RestorePointImported')) return true;
  if (types.has('BackupCompleted')) return types.has('ChangeTrackingSettled');
  if (types.has('BackupFailed') || types.has('BackupCancelled')) {
    return types.has('BackupUndone') && (!types.has('TransferRequested') || types.has('ChangeTrackingSettled'));
  }
  return false;
}
