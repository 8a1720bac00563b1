import type { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { RestoreProgress } from './restore-progress.registry.js';

export class RestoredDiskResponse {
  /** @example 0 */ readonly disk_id!: number;
  /** @example "disk0.qcow2" */ readonly disk_key!: string;
  /** @example 2147483648 */ readonly virtual_size_bytes!: number;
  readonly status!: 'pending' | 'copying' | 'comparing' | 'completed';
  /** Progress of the copy @example 62.5 */ readonly progress_percent!: number;
  /** File names in the target directory; the last is the disk, the others are its backing files @example ["pgtest1-disk0.raw"] */
  readonly files!: readonly string[];
}

export class DamagedSourceResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** Relative to the repository @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2" */
  readonly file!: string;
  /** @example "its SHA-256 is 9f86..., but 60303a... was sealed" */ readonly detail!: string;
}

export class RestoreErrorResponse {
  /** Machine-readable cause @example "source_damaged" */ readonly code!: string;
  readonly stage!: 'preparing' | 'copying' | 'checking' | 'publishing' | 'defining';
  /** @example "The file \"/srv/backups/pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2\" differs from the sealed one." */
  readonly detail!: string;
}

export class DefinitionChangeResponse {
  /** Machine-readable kind of change @example "medium_removed" */ readonly code!: string;
  /** @example "the cdrom sda is empty: /srv/iso/debian-12.iso" */ readonly detail!: string;
}

export class VmStartErrorResponse {
  /** @example "domain_refused" */ readonly code!: string;
  /** @example "libvirt refuses \"start\": network 'default' is not active" */ readonly detail!: string;
}

/** The VM that a restore creates. */
export class RestoredVmResponse {
  /** `instant`: it uses NBD exports of the hub until it is removed */ readonly mode!: 'copy' | 'instant';
  /** @example "0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99" */ readonly node_id!: string;
  /** @example "pgtest1-restored" */ readonly name!: string;
  /** null until the domain is defined @example "ad05c83f-50e3-5a52-a4f4-f1a4b76a9e10" */ readonly uuid!: string | null;
  readonly keep_identity!: boolean;
  readonly network!: 'keep' | 'disconnected' | 'none';
  /** @example null */ readonly libvirt_network!: string | null;
  /** Whether the restore has started the VM */ readonly started!: boolean;
  /** Why the finished VM could not be started */ readonly start_error!: VmStartErrorResponse | null;
  /** Changes to the original definition */ readonly changes!: readonly DefinitionChangeResponse[];
  /** Whether the removal of an instant VM was requested */ readonly removed!: boolean;
}

/** A restore job as returned by every route. */
export class RestoreJobResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a21" */ readonly job_id!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** `disks`: to files in a directory of the hub; `vm`: as a VM on a node */ readonly kind!: 'disks' | 'vm';
  /** Details of a restore as a VM */ readonly vm!: RestoredVmResponse | null;
  /** Directory on the hub; for a VM the directory on its node, empty for an instant VM @example "/srv/restore" */
  readonly target_path!: string;
  readonly format!: 'raw' | 'qcow2' | 'vmdk';
  readonly chain!: 'flattened' | 'chain';
  readonly overwrite!: boolean;
  readonly status!: 'running' | 'completed' | 'failed' | 'cancelled';
  /** Over all disks; the last tenth is the comparison @example 56.2 */ readonly progress_percent!: number;
  readonly disks!: RestoredDiskResponse[];
  /** Whether every source file has the hash recorded when it was sealed */ readonly sources_verified!: boolean;
  /** With `allow_damaged`: source files that differ from the sealed ones; the restored disks may differ from the VM @example [] */
  readonly damaged_sources!: readonly DamagedSourceResponse[];
  /** The finished files; empty until completed @example ["/srv/restore/pgtest1-disk0.raw"] */
  readonly files!: readonly string[];
  readonly error!: RestoreErrorResponse | null;
  /** False while resources of an ended job are being removed, and while an instant VM exists */
  readonly cleaned_up!: boolean;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** @example null */ readonly completed_at!: string | null;
  /** Position of the last event reflected in this answer; opaque @example "0000000000000000042" */
  readonly position!: string;
}

const COPY_SHARE = 0.9;

export function toRestoreJobResponse(row: RestoreJobReadModel, live: RestoreProgress): RestoreJobResponse {
  const disks = row.disks.map((disk) => ({
    disk_id: disk.disk_id,
    disk_key: disk.disk_key,
    virtual_size_bytes: disk.virtual_size_bytes,
    status: disk.status,
    progress_percent: disk.status === 'copying' ? Math.max(disk.percent, live.copied(row.job_id, disk.disk_id) ?? 0) : disk.percent,
    files: disk.outputs,
  }));
  const share = disks.reduce((sum, disk) => sum + (disk.status === 'completed' ? 100 : disk.progress_percent * COPY_SHARE), 0) / Math.max(1, disks.length);
  return {
    job_id: row.job_id,
    backup_id: row.backup_id,
    vm_id: row.vm_id,
    vm_name: row.vm_name,
    kind: row.kind,
    vm:
      row.vm === null
        ? null
        : {
            mode: row.vm.mode,
            node_id: row.vm.node_id,
            name: row.vm.name,
            uuid: row.vm.uuid,
            keep_identity: row.vm.keep_identity,
            network: row.vm.network,
            libvirt_network: row.vm.libvirt_network,
            started: row.vm.started,
            start_error: row.vm.start_error,
            changes: row.vm.changes,
            removed: row.vm.removed,
          },
    repository_id: row.repository_id,
    target_path: row.target_path,
    format: row.format,
    chain: row.chain,
    overwrite: row.overwrite,
    status: row.status,
    progress_percent: row.status === 'completed' ? 100 : Math.floor(share * 10) / 10,
    disks,
    sources_verified: row.sources_verified,
    damaged_sources: row.damaged_sources,
    files: row.files,
    error: row.error,
    cleaned_up: row.cleaned_up,
    created_at: row.requested_at.toISOString(),
    completed_at: row.ended_at?.toISOString() ?? null,
    position: row.position,
  };
}
