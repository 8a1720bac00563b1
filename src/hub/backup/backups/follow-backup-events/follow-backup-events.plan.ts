/**
 * Whether a run's history is complete: both its end and its clean-up have been recorded. A failed or cancelled run that had reached the node must be undone
 * and confirmed by the node.
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
