import type { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import type { VerificationFinding } from './verification.events.js';

export class DamagedRangeResponse {
  /** From the start of the file @example 4194304 */ readonly offset_bytes!: number;
  /** @example 4194304 */ readonly length_bytes!: number;
}

export class FindingResponse {
  readonly code!: VerificationFinding['code'];
  /** The restore point that is damaged @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /**
   * Path relative to the repository; null if the finding concerns the restore point as a whole
   * @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2"
   */
  readonly file!: string | null;
  /** @example "The file \"/srv/backups/.../disk-0.qcow2\" has 1000 bytes; it was sealed with 1074135040." */ readonly detail!: string;
  /** The damaged parts of the file, in blocks of 4 MiB, at most the first 16; empty if they are not known */
  readonly ranges!: readonly DamagedRangeResponse[];
}

export class HealedFileResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** Path relative to the repository @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2" */ readonly file!: string;
  /** The repositories that the content came from @example ["0199a3c0-2b40-7d10-b1de-64f0a52c9e03"] */ readonly from_repository_ids!: readonly string[];
  /** @example 4194304 */ readonly healed_bytes!: number;
  /** The parts that came from there, in blocks of 4 MiB, at most the first 16 */ readonly ranges!: readonly DamagedRangeResponse[];
}

export class UnhealedPointResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** Stable code @example "no_other_place" */ readonly code!: string;
  /** @example "No other repository that can be read holds the same files of the restore point." */ readonly detail!: string;
}

export class BootArtefactResponse {
  readonly name!: 'console' | 'screenshot';
  /** @example "image/png" */ readonly media_type!: string;
  /** @example 5120 */ readonly size_bytes!: number;
  /** Path of the download @example "/api/v1/backups/0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a14/verifications/0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a31/screenshot" */
  readonly path!: string;
}

export class BootChangeResponse {
  /** Stable code @example "interface_removed" */ readonly code!: string;
  /** @example "the network interface 52:54:00:6b:3c:58" */ readonly detail!: string;
}

/** The outcome of booting the restore point. */
export class BootResponse {
  /** @example "0199a3c0-77aa-7c3e-8a55-9b1d3c1f0e99" */ readonly node_id!: string;
  /** @example "login:" */ readonly console_text!: string | null;
  readonly guest_agent!: boolean;
  /** @example 300 */ readonly timeout_seconds!: number;
  readonly status!: 'pending' | 'running' | 'booted' | 'not_booted';
  /** Number of the attempt, from 1. A new attempt is made if the node restarts during a boot check @example 1 */
  readonly attempt!: number;
  /** The sign of life that was seen */ readonly sign!: 'console_text' | 'guest_agent' | null;
  /** @example "The console has shown \"login:\"." */ readonly detail!: string | null;
  /** Seconds from the guest's start to the verdict @example 12.5 */ readonly seconds!: number | null;
  /** Parts of the definition that could not be kept */ readonly changes!: readonly BootChangeResponse[];
  readonly artefacts!: readonly BootArtefactResponse[];
  /** Why there is no screenshot @example null */ readonly screenshot_problem!: string | null;
}

export class VerificationErrorResponse {
  /** @example "repository_unavailable" */ readonly code!: string;
  /** @example "The repository at \"/srv/backups\" cannot be used." */ readonly detail!: string;
}

export class VerificationResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a31" */ readonly verification_id!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a14" */ readonly backup_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** The repository that is read @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** `aborted`: no verdict could be reached, see error */ readonly status!: 'running' | 'passed' | 'failed' | 'aborted';
  readonly findings!: readonly FindingResponse[];
  /** @example 4 */ readonly files_checked!: number | null;
  /** @example 2148270080 */ readonly bytes_checked!: number | null;
  readonly error!: VerificationErrorResponse | null;
  /** Whether damaged files are written again from other repositories */ readonly heal!: boolean;
  /** What was written again in this repository, and from where */ readonly healed!: readonly HealedFileResponse[];
  /** Damaged restore points that could not be healed, and why */ readonly unhealed!: readonly UnhealedPointResponse[];
  /** null: not requested */ readonly boot!: BootResponse | null;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** @example "2026-11-21T10:30:12.000Z" */ readonly completed_at!: string | null;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}

export function toVerificationResponse(row: VerificationReadModel): VerificationResponse {
  return {
    verification_id: row.verification_id,
    backup_id: row.backup_id,
    vm_name: row.vm_name,
    repository_id: row.repository_id,
    status: row.status,
    findings: row.findings.map((finding) => ({ ...finding, ranges: finding.ranges ?? [] })),
    files_checked: row.files_checked,
    bytes_checked: row.bytes_checked === null ? null : Number(row.bytes_checked),
    error: row.error,
    heal: row.heal,
    healed: row.healed,
    unhealed: row.unhealed,
    boot: row.boot === null ? null : toBootResponse(row, row.boot),
    created_at: row.requested_at.toISOString(),
    completed_at: row.ended_at?.toISOString() ?? null,
    position: row.position,
  };
}

function toBootResponse(row: VerificationReadModel, boot: NonNullable<VerificationReadModel['boot']>): BootResponse {
  return {
    node_id: boot.node_id,
    console_text: boot.console_text,
    guest_agent: boot.guest_agent,
    timeout_seconds: boot.timeout_seconds,
    status: boot.status,
    attempt: boot.attempt,
    sign: boot.sign,
    detail: boot.detail,
    seconds: boot.seconds,
    changes: boot.changes,
    artefacts: boot.artefacts.map(({ name, media_type, size_bytes }) => ({
      name,
      media_type,
      size_bytes,
      path: `/api/v1/backups/${row.backup_id}/verifications/${row.verification_id}/${name}`,
    })),
    screenshot_problem: boot.screenshot_problem,
  };
}
