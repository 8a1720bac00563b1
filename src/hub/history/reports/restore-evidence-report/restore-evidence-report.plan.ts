import { byText, type ReportContent, type ReportDefinition, type ReportRow } from '../model/report.plan.js';

export const RESTORE_EVIDENCE_REPORT = {
  name: 'restore-evidence',
  title: 'Evidence that VMs can be restored',
  version: 1,
  totals: [
    { name: 'vms', heading: 'VMs', unit: 'count' },
    { name: 'restored', heading: 'Restored', unit: 'count' },
    { name: 'booted', heading: 'Booted in a check', unit: 'count' },
    { name: 'files_restored', heading: 'With files restored', unit: 'count' },
    { name: 'verified', heading: 'Verified', unit: 'count' },
    { name: 'never_restored', heading: 'Never restored', unit: 'count' },
    { name: 'without_evidence', heading: 'Without any evidence', unit: 'count' },
    { name: 'last_failed', heading: 'Whose last check or restore failed', unit: 'count' },
  ],
  tables: [
    {
      name: 'vms',
      heading: 'VMs, those with the least evidence first',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'evidence', heading: 'Best evidence', unit: 'text' },
        { name: 'restore_points', heading: 'Restore points', unit: 'count' },
        { name: 'verified', heading: 'Last verified', unit: 'time' },
        { name: 'booted', heading: 'Last booted', unit: 'time' },
        { name: 'files_restored', heading: 'Last files restored', unit: 'time' },
        { name: 'restored', heading: 'Last full restore', unit: 'time' },
        { name: 'restored_as', heading: 'Restored as', unit: 'text' },
        { name: 'failed', heading: 'Last failure', unit: 'time' },
        { name: 'failure', heading: 'Failure', unit: 'text' },
        { name: 'failure_is_last', heading: 'Still failing', unit: 'text' },
        { name: 'verification_id', heading: 'Verification', unit: 'id' },
        { name: 'job_id', heading: 'Restore job', unit: 'id' },
        { name: 'vm_id', heading: 'VM id', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

/** Something that succeeded, and the id of its verification or job. */
export interface Evidence {
  readonly id: string;
  readonly at: string;
}

export interface RestoreEvidenceFacts {
  /** Registered VMs, and those that have restore points. */
  readonly vms: readonly { readonly vm_id: string; readonly name: string; readonly restore_points: number }[];
  /** The newest of each VM, by VM. */
  readonly verified: ReadonlyMap<string, Evidence>;
  readonly booted: ReadonlyMap<string, Evidence>;
  readonly filesDownloaded: ReadonlyMap<string, string>;
  readonly restored: ReadonlyMap<string, Evidence & { readonly kind: 'disks' | 'vm' }>;
  /** A verification that found damage, a guest that did not boot, or a restore that failed. */
  readonly failed: ReadonlyMap<string, { readonly at: string; readonly what: string; readonly detail: string }>;
}

/** The weakest first. */
const EVIDENCE = ['no_restore_point', 'none', 'verified', 'files_restored', 'booted', 'restored'] as const;

/** What has shown of each VM that it can be restored. */
export function restoreEvidenceReport(facts: RestoreEvidenceFacts): ReportContent {
  const rows = facts.vms.map(({ vm_id, name, restore_points }): ReportRow & { readonly evidence: (typeof EVIDENCE)[number] } => {
    const [verified, booted, restored] = [facts.verified.get(vm_id), facts.booted.get(vm_id), facts.restored.get(vm_id)];
    const files = facts.filesDownloaded.get(vm_id) ?? null;
    const failed = facts.failed.get(vm_id);
    const succeeded = [verified?.at, booted?.at, restored?.at, files].filter((at) => typeof at === 'string');
    return {
      vm: name,
      evidence: evidenceOf({ restore_points, verified, booted, restored, files }),
      restore_points,
      verified: verified?.at ?? null,
      booted: booted?.at ?? null,
      files_restored: files,
      restored: restored?.at ?? null,
      restored_as: restored?.kind ?? null,
      failed: failed?.at ?? null,
      failure: failed === undefined ? null : `${failed.what}: ${failed.detail}`,
      failure_is_last: failed === undefined ? null : succeeded.every((at) => at < failed.at) ? 'yes' : 'no',
      verification_id: verified?.id ?? null,
      job_id: restored?.id ?? null,
      vm_id,
    };
  });
  const count = (counts: (row: ReportRow) => boolean): number => rows.filter(counts).length;
  const has = (name: string): number => count((row) => row[name] !== null);
  const totals = {
    vms: rows.length,
    restored: has('restored'),
    booted: has('booted'),
    files_restored: has('files_restored'),
    verified: has('verified'),
    never_restored: count(({ restored, files_restored }) => restored === null && files_restored === null),
    without_evidence: count(({ evidence }) => evidence === 'none' || evidence === 'no_restore_point'),
    last_failed: count(({ failure_is_last }) => failure_is_last === 'yes'),
  };
  const strength = (row: ReportRow): string => String(EVIDENCE.findIndex((evidence) => evidence === row['evidence']));
  const text = (name: string) => (row: ReportRow) => String(row[name]);
  return { totals, tables: { vms: rows.toSorted(byText(strength, text('vm'), text('vm_id'))) } };
}

function evidenceOf(of: {
  readonly restore_points: number;
  readonly verified: Evidence | undefined;
  readonly booted: Evidence | undefined;
  readonly restored: Evidence | undefined;
  readonly files: string | null;
}): (typeof EVIDENCE)[number] {
  if (of.restore_points === 0) return 'no_restore_point';
  if (of.restored !== undefined) return 'restored';
  if (of.booted !== undefined) return 'booted';
  if (of.files !== null) return 'files_restored';
  return of.verified === undefined ? 'none' : 'verified';
}
