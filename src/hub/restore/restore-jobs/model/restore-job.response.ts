import { ApiProperty } from '@nestjs/swagger';
import type { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { RestoreProgress } from './restore-progress.registry.js';

export class RestoredDiskResponse {
  @ApiProperty({ example: 0 }) readonly disk_id!: number;
  @ApiProperty({ example: 'disk0.qcow2' }) readonly disk_key!: string;
  @ApiProperty({ example: 2147483648 }) readonly virtual_size_bytes!: number;
  @ApiProperty({ enum: ['pending', 'copying', 'comparing', 'completed'], example: 'copying' }) readonly status!: string;
  @ApiProperty({ description: 'Progress of the copy', example: 62.5 }) readonly progress_percent!: number;
  @ApiProperty({
    type: [String],
    description: 'File names in the target directory; the last is the disk, the others are its backing files',
    example: ['pgtest1-disk0.raw'],
  })
  readonly files!: readonly string[];
}

export class DamagedSourceResponse {
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly backup_id!: string;
  @ApiProperty({ description: 'Relative to the repository', example: 'pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2' }) readonly file!: string;
  @ApiProperty({ example: 'its SHA-256 is 9f86..., but 60303a... was sealed' }) readonly detail!: string;
}

export class RestoreErrorResponse {
  @ApiProperty({ description: 'Machine-readable cause', example: 'source_damaged' }) readonly code!: string;
  @ApiProperty({ enum: ['preparing', 'copying', 'checking', 'publishing', 'defining'], example: 'checking' }) readonly stage!: string;
  @ApiProperty({ example: 'The file "/srv/backups/pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2" differs from the sealed one.' })
  readonly detail!: string;
}

export class DefinitionChangeResponse {
  @ApiProperty({ description: 'Machine-readable kind of change', example: 'medium_removed' }) readonly code!: string;
  @ApiProperty({ example: 'the cdrom sda is empty: /srv/iso/debian-12.iso' }) readonly detail!: string;
}

export class VmStartErrorResponse {
  @ApiProperty({ example: 'domain_refused' }) readonly code!: string;
  @ApiProperty({ example: 'libvirt refuses "start": network \'default\' is not active' }) readonly detail!: string;
}

/** The VM that a restore creates. */
export class RestoredVmResponse {
  @ApiProperty({ enum: ['copy', 'instant'], description: '`instant`: it uses NBD exports of the hub until it is removed', example: 'copy' })
  readonly mode!: string;
  @ApiProperty({ example: '0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99' }) readonly node_id!: string;
  @ApiProperty({ example: 'pgtest1-restored' }) readonly name!: string;
  @ApiProperty({ type: String, nullable: true, description: 'null until the domain is defined', example: 'ad05c83f-50e3-5a52-a4f4-f1a4b76a9e10' })
  readonly uuid!: string | null;
  @ApiProperty({ example: false }) readonly keep_identity!: boolean;
  @ApiProperty({ enum: ['keep', 'disconnected', 'none'], example: 'keep' }) readonly network!: string;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly libvirt_network!: string | null;
  @ApiProperty({ description: 'Whether the restore has started the VM', example: true }) readonly started!: boolean;
  @ApiProperty({ type: VmStartErrorResponse, nullable: true, description: 'Why the finished VM could not be started', example: null })
  readonly start_error!: VmStartErrorResponse | null;
  @ApiProperty({ type: [DefinitionChangeResponse], description: 'Changes to the original definition' })
  readonly changes!: readonly DefinitionChangeResponse[];
  @ApiProperty({ description: 'Whether the removal of an instant VM was requested', example: false }) readonly removed!: boolean;
}

/** A restore job as returned by every route. */
export class RestoreJobResponse {
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a21' }) readonly job_id!: string;
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly backup_id!: string;
  @ApiProperty({ example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' }) readonly vm_id!: string;
  @ApiProperty({ example: 'pgtest1' }) readonly vm_name!: string;
  @ApiProperty({ example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' }) readonly repository_id!: string;
  @ApiProperty({ enum: ['disks', 'vm'], description: '`disks`: to files in a directory of the hub; `vm`: as a VM on a node', example: 'disks' })
  readonly kind!: string;
  @ApiProperty({ type: RestoredVmResponse, nullable: true, description: 'Details of a restore as a VM', example: null })
  readonly vm!: RestoredVmResponse | null;
  @ApiProperty({ description: 'Directory on the hub; for a VM the directory on its node, empty for an instant VM', example: '/srv/restore' })
  readonly target_path!: string;
  @ApiProperty({ enum: ['raw', 'qcow2', 'vmdk'], example: 'raw' }) readonly format!: string;
  @ApiProperty({ enum: ['flattened', 'chain'], example: 'flattened' }) readonly chain!: string;
  @ApiProperty({ example: false }) readonly overwrite!: boolean;
  @ApiProperty({ enum: ['running', 'completed', 'failed', 'cancelled'], example: 'running' }) readonly status!: string;
  @ApiProperty({ description: 'Over all disks; the last tenth is the comparison', example: 56.2 }) readonly progress_percent!: number;
  @ApiProperty({ type: [RestoredDiskResponse] }) readonly disks!: RestoredDiskResponse[];
  @ApiProperty({ description: 'Whether every source file has the hash recorded when it was sealed', example: true }) readonly sources_verified!: boolean;
  @ApiProperty({
    type: [DamagedSourceResponse],
    description: 'With `allow_damaged`: source files that differ from the sealed ones; the restored disks may differ from the VM',
    example: [],
  })
  readonly damaged_sources!: readonly DamagedSourceResponse[];
  @ApiProperty({ type: [String], description: 'The finished files; empty until completed', example: ['/srv/restore/pgtest1-disk0.raw'] })
  readonly files!: readonly string[];
  @ApiProperty({ type: RestoreErrorResponse, nullable: true, example: null }) readonly error!: RestoreErrorResponse | null;
  @ApiProperty({ description: 'False while resources of an ended job are being removed, and while an instant VM exists', example: false })
  readonly cleaned_up!: boolean;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly created_at!: string;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly completed_at!: string | null;
  @ApiProperty({ description: 'Position of the last event reflected in this answer; opaque', example: '0000000000000000042' }) readonly position!: string;
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
