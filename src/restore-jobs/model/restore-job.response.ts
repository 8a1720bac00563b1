import { ApiProperty } from '@nestjs/swagger';
import type { RestoreJobReadModel } from '../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { RestoreProgress } from './restore-progress.registry.js';

export class RestoredDiskResponse {
  @ApiProperty({ example: 0 }) readonly disk_id!: number;
  @ApiProperty({ example: 'disk0.qcow2' }) readonly disk_key!: string;
  @ApiProperty({ example: 2147483648 }) readonly virtual_size_bytes!: number;
  @ApiProperty({ enum: ['pending', 'copying', 'comparing', 'completed'], example: 'copying' }) readonly status!: string;
  @ApiProperty({ description: 'Of the copy', example: 62.5 }) readonly progress_percent!: number;
  @ApiProperty({
    type: [String],
    description: 'Names in the target folder; the last is the disk, those before it what it stands on',
    example: ['pgtest1-disk0.raw'],
  })
  readonly files!: readonly string[];
}

export class DamagedSourceResponse {
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly backup_id!: string;
  @ApiProperty({ description: 'Relative to the repository', example: 'pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2' }) readonly file!: string;
  @ApiProperty({ example: 'its SHA-256 is 9f86...; it was sealed with 60303a...' }) readonly detail!: string;
}

export class RestoreErrorResponse {
  @ApiProperty({ description: 'Stable word for the cause', example: 'source_damaged' }) readonly code!: string;
  @ApiProperty({ enum: ['copying', 'checking', 'publishing'], example: 'checking' }) readonly stage!: string;
  @ApiProperty({ example: 'The file "/srv/backups/pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2" is not what was sealed.' })
  readonly detail!: string;
}

/** A restore job as every route shows it. */
export class RestoreJobResponse {
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a21' }) readonly job_id!: string;
  @ApiProperty({ example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly backup_id!: string;
  @ApiProperty({ example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' }) readonly vm_id!: string;
  @ApiProperty({ example: 'pgtest1' }) readonly vm_name!: string;
  @ApiProperty({ example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' }) readonly repository_id!: string;
  @ApiProperty({ example: '/srv/restore' }) readonly target_path!: string;
  @ApiProperty({ enum: ['raw', 'qcow2', 'vmdk'], example: 'raw' }) readonly format!: string;
  @ApiProperty({ enum: ['flattened', 'chain'], example: 'flattened' }) readonly chain!: string;
  @ApiProperty({ example: false }) readonly overwrite!: boolean;
  @ApiProperty({ enum: ['running', 'completed', 'failed', 'cancelled'], example: 'running' }) readonly status!: string;
  @ApiProperty({ description: 'Over all disks; the last tenth is the comparison', example: 56.2 }) readonly progress_percent!: number;
  @ApiProperty({ type: [RestoredDiskResponse] }) readonly disks!: RestoredDiskResponse[];
  @ApiProperty({ description: 'Whether every source file has the hash it was sealed with', example: true }) readonly sources_verified!: boolean;
  @ApiProperty({
    type: [DamagedSourceResponse],
    description: 'With `allow_damaged`: what is not what was sealed, so that the restored disks may differ from the VM',
    example: [],
  })
  readonly damaged_sources!: readonly DamagedSourceResponse[];
  @ApiProperty({ type: [String], description: 'The finished files; empty until completed', example: ['/srv/restore/pgtest1-disk0.raw'] })
  readonly files!: readonly string[];
  @ApiProperty({ type: RestoreErrorResponse, nullable: true, example: null }) readonly error!: RestoreErrorResponse | null;
  @ApiProperty({ description: 'False while what an ended job has used is still being taken away', example: false }) readonly cleaned_up!: boolean;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly created_at!: string;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly completed_at!: string | null;
  @ApiProperty({ description: 'Position of the last event this answer knows; opaque', example: '0000000000000000042' }) readonly position!: string;
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
