import type { DomainEvent } from '../../../../kernel/event.js';
import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import type { NodeQuiesceOutcome } from '../../../../contract/backup-job.js';
import type { NodeVmDefinition } from '../../../../contract/vm-definition.js';
import type { NodeLeftOutDisk } from '../../../../contract/vm-list.js';
import type { NodeChangeIdProblem, NodeQuiesce, Plain } from '../../../../contract/words.js';

/** The requested type. `auto` becomes full or incremental when the backup is planned. */
export type RequestedBackupType = 'full' | 'incremental' | 'auto';
export type BackupType = 'full' | 'incremental';

/** Why a backup is a full. These codes are part of the API and stable. */
export type FullReason =
  | 'first_backup'
  | 'requested'
  | 'no_change_tracking'
  | NodeChangeIdProblem
  | 'disk_added'
  | 'disk_removed'
  | 'disk_resized'
  | 'parent_missing'
  | 'parent_truncated'
  | 'parent_altered'
  | 'chain_too_long'
  /** It was an incremental, and its files were merged with those below it. */
  | 'flattened';

/** Why a pending backup has not started yet. */
export type WaitingFor = 'vm_busy' | 'backup_limit' | 'nbd_ports';

/** The stage a backup had reached when it failed. */
export type BackupStage = 'queued' | 'planning' | 'preparing' | 'snapshot' | 'transfer' | 'sealing';

/** What a restore point is the first good one of, among those of its VM and policy, in the policy's time zone. Weeks are ISO weeks. */
export type Tier = 'daily' | 'weekly' | 'monthly' | 'yearly';

export type PlannedDisk = {
  /** From 0, in the order of the source. */
  readonly disk_id: number;
  /** Stable name of the disk at its source, for example its file name. */
  readonly disk_key: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  readonly source_format: string;
  /** File name within the restore point's folder. */
  readonly file: string;
  /** The parent's QCOW2 file, relative to the repository. null for a full, and for a disk that was added after the parent and is therefore copied whole. */
  readonly parent_file: string | null;
  /** The change id at the source that the incremental starts from; null if and only if parent_file is null. */
  readonly parent_change_id: string | null;
};

export type SealedFile = {
  readonly disk_id: number;
  readonly file: string;
  /** Length of the QCOW2 file in bytes. */
  readonly size_bytes: number;
  /** SHA-256 of the whole file, lower-case hex. */
  readonly sha256: string;
  /** Modification time after sealing, in nanoseconds since 1970, as a decimal string. A cheap way to detect that a file was altered. */
  readonly mtime_ns: string;
};

export type BackupRequested = DomainEvent<
  'BackupRequested',
  {
    readonly backup_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly node_id: string;
    readonly repository_id: string;
    readonly backup_type: RequestedBackupType;
    readonly policy_id: string | null;
    /** The version of the policy that the backup follows; omitted without a policy. */
    readonly policy_version?: number;
    /** ISO 8601, UTC. */
    readonly requested_at: string;
  }
>;
export type BackupOptions = {
  /** Whether the guest's file systems are frozen at the instant. `try`: if possible. */
  readonly quiesce: NodeQuiesce;
  /** Maximum rate at which the disks are read, in bytes per second; null: no limit. */
  readonly bandwidth_limit_bps: number | null;
};
/** The requested options besides the type; recorded only if they differ from DEFAULT_BACKUP_OPTIONS. */
export type BackupOptionsChosen = DomainEvent<'BackupOptionsChosen', BackupOptions>;
/** Devices of the VM that are not part of the backup, with the reasons; recorded only if there are any. */
export type DisksLeftOut = DomainEvent<'DisksLeftOut', { readonly disks: readonly Plain<NodeLeftOutDisk>[] }>;
/** Whether the guest's file systems were frozen; recorded for sources with running guests. */
export type QuiesceReported = DomainEvent<'QuiesceReported', Plain<NodeQuiesceOutcome>>;
/** The backup stays pending, for this reason. Recorded when the reason changes. */
export type BackupQueued = DomainEvent<'BackupQueued', { readonly waiting_for: WaitingFor; readonly detail: string }>;
/** Stored by hubs that did not record the ports with the plan; read as BackupPlannedV2. */
export type BackupPlanned = DomainEvent<
  'BackupPlanned',
  {
    readonly backup_type: BackupType;
    /** Set if and only if backup_type is full. */
    readonly full_reason: FullReason | null;
    /** The precise finding behind full_reason, for people; null if there is nothing to add. */
    readonly full_reason_detail: string | null;
    readonly chain_id: string;
    readonly parent_backup_id: string | null;
    /** Restore point's folder relative to the repository. */
    readonly folder: string;
    readonly disks: readonly PlannedDisk[];
    readonly started_at: string;
    /** The hypervisor's definition of the VM, for the manifest; omitted if there is none. */
    readonly definition?: Plain<NodeVmDefinition>;
  }
>;
/** The port that was allocated for a disk, and the name of the export that listens on it. */
export type PlannedPort = { readonly disk_id: number; readonly nbd_port: number; readonly export_name: string };
export type BackupPlannedV2 = DomainEvent<
  'BackupPlannedV2',
  BackupPlanned['data'] & {
    /** One per disk; empty in a plan that was stored as BackupPlanned. */
    readonly ports: readonly PlannedPort[];
  }
>;
export type DiskTargetCreated = DomainEvent<
  'DiskTargetCreated',
  {
    readonly disk_id: number;
    readonly export_id: string;
    readonly export_name: string;
    readonly nbd_port: number;
    /** Absolute path of the file while it is being written. */
    readonly qcow2_path: string;
  }
>;
/** Intent: the hub is about to request the copy from the node. From here on the node may have a job with this backup's id. */
export type TransferRequested = DomainEvent<
  'TransferRequested',
  { readonly node_id: string; readonly nbd_targets_string: string; readonly requested_at: string }
>;
export type SnapshotTaken = DomainEvent<
  'SnapshotTaken',
  {
    /** The instant common to all disks. ISO 8601, UTC, according to the node's clock. */
    readonly instant: string;
    readonly change_ids: readonly { readonly disk_id: number; readonly change_id: string | null }[];
  }
>;
export type DiskTransferStarted = DomainEvent<'DiskTransferStarted', { readonly disk_id: number; readonly total_bytes: number }>;
export type DiskTransferProgressed = DomainEvent<
  'DiskTransferProgressed',
  { readonly disk_id: number; readonly bytes_transferred: number; readonly total_bytes: number }
>;
export type DiskTransferCompleted = DomainEvent<
  'DiskTransferCompleted',
  {
    readonly disk_id: number;
    readonly bytes_transferred: number;
    /**
     * Keyed digest of the content that the node sent, in lower-case hex. The stored file must match it to be sealed. Omitted if the node reported none. The
     * key is not recorded.
     */
    readonly content_digest?: string;
  }
>;
export type DiskTransferFailed = DomainEvent<'DiskTransferFailed', { readonly disk_id: number; readonly code: string; readonly detail: string }>;
/** The node has been silent for longer than the limit; the backup keeps waiting. */
export type TransferStalled = DomainEvent<'TransferStalled', { readonly silent_since: string }>;
export type TransferResumed = DomainEvent<'TransferResumed', { readonly heard_at: string }>;
/** The source's disks are free again: the node has removed its snapshot and the servers that read it. */
export type SnapshotReleased = DomainEvent<'SnapshotReleased', { readonly released_at: string }>;
export type RestorePointSealed = DomainEvent<
  'RestorePointSealed',
  {
    readonly folder: string;
    readonly files: readonly SealedFile[];
    readonly manifest_sha256: string;
    readonly sealed_at: string;
    /** As in its manifest, ISO 8601 in UTC; omitted if it is not locked. */
    readonly locked_until?: string;
  }
>;
export type BackupCompleted = DomainEvent<'BackupCompleted', { readonly completed_at: string }>;
export type BackupFailed = DomainEvent<
  'BackupFailed',
  { readonly stage: BackupStage; readonly code: string; readonly detail: string; readonly failed_at: string }
>;
export type BackupCancelled = DomainEvent<'BackupCancelled', { readonly cancelled_at: string }>;
/**
 * The node has confirmed that it holds nothing of this backup except the change ids that chains need:
 * `committed` keeps this backup's change ids and drops the parent's, `discarded` does the opposite.
 */
export type ChangeTrackingSettled = DomainEvent<'ChangeTrackingSettled', { readonly outcome: 'committed' | 'discarded' }>;
/** After a failure or a cancellation: exports stopped, ports released, partial files removed. */
export type BackupUndone = DomainEvent<'BackupUndone', { readonly undone_at: string }>;
/** The restore point is deleted; its files are about to be removed. */
export type BackupDeleted = DomainEvent<'BackupDeleted', { readonly deleted_at: string }>;
/** Tiers of the restore point that no other one was recorded for. They stay; a second event only adds some, when the first one of a period is damaged or removed. */
export type RestorePointTiersAssigned = DomainEvent<
  'RestorePointTiersAssigned',
  { readonly policy_id: string; readonly time_zone: string; readonly tiers: readonly Tier[]; readonly assigned_at: string }
>;
/** The retention of its policy does not keep the restore point. Its files stay until the grace period has ended, and nothing stands on it. */
export type RestorePointExpired = DomainEvent<
  'RestorePointExpired',
  {
    readonly policy_id: string;
    /** The version whose rules decided. */
    readonly policy_version: number;
    readonly reasons: readonly ExpiryReason[];
    readonly expired_at: string;
    readonly grace_until: string;
  }
>;
/** The grace period has ended, and the files are needed by later restore points. */
export type RestorePointRemovalDeferred = DomainEvent<'RestorePointRemovalDeferred', { readonly needed_by: readonly string[]; readonly deferred_at: string }>;
/** The restore point is kept again: by a rule, a policy without retention, or because it was pinned or held. */
export type RestorePointExpiryWithdrawn = DomainEvent<'RestorePointExpiryWithdrawn', { readonly kept_by: readonly string[]; readonly withdrawn_at: string }>;
/** It does not expire and is not deleted until it is unpinned. Recorded again with another reason. */
export type RestorePointPinned = DomainEvent<'RestorePointPinned', { readonly reason: string; readonly pinned_at: string }>;
export type RestorePointUnpinned = DomainEvent<'RestorePointUnpinned', { readonly reason: string; readonly unpinned_at: string }>;
/** As a pin, and independent of it: for reasons outside of operations, such as a legal dispute. */
export type RestorePointHeld = DomainEvent<'RestorePointHeld', { readonly reason: string; readonly held_at: string }>;
export type RestorePointReleased = DomainEvent<'RestorePointReleased', { readonly reason: string; readonly released_at: string }>;
export type RestorePointFilesRemoved = DomainEvent<'RestorePointFilesRemoved', { readonly folder: string }>;

export type ImportedDisk = {
  readonly disk_id: number;
  readonly disk_key: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  readonly source_format: string;
  readonly file: string;
  /** Relative to the repository; null for a full. */
  readonly parent_file: string | null;
  readonly parent_change_id: string | null;
  readonly change_id: string | null;
  readonly file_size_bytes: number;
  readonly sha256: string;
  readonly mtime_ns: string;
};
/** A restore point of another hub was found in a repository and imported as its manifest describes it. This is the first event of its stream. */
export type RestorePointImported = DomainEvent<
  'RestorePointImported',
  {
    readonly backup_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly node_id: string;
    readonly repository_id: string;
    readonly repository_path: string;
    readonly backup_type: BackupType;
    readonly full_reason: FullReason | null;
    readonly chain_id: string;
    readonly parent_backup_id: string | null;
    readonly folder: string;
    readonly instant: string;
    readonly started_at: string;
    readonly sealed_at: string;
    readonly manifest_sha256: string;
    readonly disks: readonly ImportedDisk[];
    readonly imported_at: string;
  }
>;

/** Stream `backup-<backup_id>`, as of today. */
export type BackupEvent =
  | BackupRequested
  | BackupOptionsChosen
  | BackupQueued
  | BackupPlannedV2
  | DisksLeftOut
  | DiskTargetCreated
  | TransferRequested
  | SnapshotTaken
  | QuiesceReported
  | DiskTransferStarted
  | DiskTransferProgressed
  | DiskTransferCompleted
  | DiskTransferFailed
  | TransferStalled
  | TransferResumed
  | SnapshotReleased
  | RestorePointSealed
  | BackupCompleted
  | BackupFailed
  | BackupCancelled
  | ChangeTrackingSettled
  | BackupUndone
  | RestorePointImported
  | RestorePointTiersAssigned
  | RestorePointExpired
  | RestorePointRemovalDeferred
  | RestorePointExpiryWithdrawn
  | RestorePointPinned
  | RestorePointUnpinned
  | RestorePointHeld
  | RestorePointReleased
  | BackupDeleted
  | RestorePointFilesRemoved;

/** Every event that such a stream may hold, from any release. */
export type StoredBackupEvent = BackupEvent | BackupPlanned;

export function upcastBackupEvent(stored: StoredBackupEvent): BackupEvent {
  return stored.type === 'BackupPlanned' ? { type: 'BackupPlannedV2', data: { ...stored.data, ports: [] } } : stored;
}

export const DEFAULT_BACKUP_OPTIONS: BackupOptions = { quiesce: 'try', bandwidth_limit_bps: null };

export function backupStream(backupId: string): string {
  return `backup-${backupId}`;
}
