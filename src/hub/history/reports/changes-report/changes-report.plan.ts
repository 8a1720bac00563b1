import type { JsonObject } from '../../../../kernel/json.js';
import type { ReportContent, ReportDefinition, ReportRow } from '../model/report.plan.js';
import { settingsChange } from './settings-change.plan.js';

const BY = { name: 'by', heading: 'By', unit: 'text' } as const;
const AT = { name: 'at', heading: 'Time', unit: 'time' } as const;

export const CHANGES_REPORT = {
  name: 'changes',
  title: 'Changes and access to data',
  version: 1,
  totals: [
    { name: 'policy_changes', heading: 'Changes of policies', unit: 'count' },
    { name: 'deletions', heading: 'Deletions', unit: 'count' },
    { name: 'restore_points_deleted', heading: 'Restore points deleted', unit: 'count' },
    { name: 'deleted_by_request', heading: 'Of these by request', unit: 'count' },
    { name: 'protections', heading: 'Pins and holds set or ended', unit: 'count' },
    { name: 'restores', heading: 'Restores', unit: 'count' },
    { name: 'downloads', heading: 'Downloads', unit: 'count' },
    { name: 'mounts_and_exports', heading: 'Mounts and exports', unit: 'count' },
  ],
  tables: [
    {
      name: 'policies',
      heading: 'Changes of policies',
      columns: [
        AT,
        BY,
        { name: 'policy', heading: 'Policy', unit: 'text' },
        { name: 'change', heading: 'Change', unit: 'text' },
        { name: 'version', heading: 'Version', unit: 'count' },
        { name: 'settings', heading: 'Settings', unit: 'text' },
        { name: 'expired', heading: 'Expired under it', unit: 'count' },
        { name: 'policy_id', heading: 'Policy id', unit: 'id' },
        { name: 'position', heading: 'Position', unit: 'id' },
      ],
    },
    {
      name: 'deletions',
      heading: 'Deletions',
      columns: [
        AT,
        BY,
        { name: 'what', heading: 'What', unit: 'text' },
        { name: 'name', heading: 'Name', unit: 'text' },
        { name: 'instant', heading: 'Restore point of', unit: 'time' },
        { name: 'size_bytes', heading: 'Size', unit: 'bytes' },
        { name: 'reason', heading: 'Reason', unit: 'text' },
        { name: 'id', heading: 'Id', unit: 'id' },
        { name: 'position', heading: 'Position', unit: 'id' },
      ],
    },
    {
      name: 'protections',
      heading: 'Pins and holds',
      columns: [
        AT,
        BY,
        { name: 'change', heading: 'Change', unit: 'text' },
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'instant', heading: 'Restore point of', unit: 'time' },
        { name: 'reason', heading: 'Reason', unit: 'text' },
        { name: 'backup_id', heading: 'Backup', unit: 'id' },
        { name: 'position', heading: 'Position', unit: 'id' },
      ],
    },
    {
      name: 'accesses',
      heading: 'Restores, downloads, mounts and exports',
      columns: [
        AT,
        BY,
        { name: 'address', heading: 'Address', unit: 'text' },
        { name: 'operation', heading: 'Operation', unit: 'text' },
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'instant', heading: 'Restore point of', unit: 'time' },
        { name: 'target', heading: 'Path or target', unit: 'text' },
        { name: 'outcome', heading: 'Outcome', unit: 'text' },
        { name: 'bytes_sent', heading: 'Sent', unit: 'bytes' },
        { name: 'backup_id', heading: 'Backup', unit: 'id' },
        { name: 'id', heading: 'Id', unit: 'id' },
        { name: 'position', heading: 'Position', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

/** An event of the period. */
interface Recorded {
  readonly position: string;
  readonly at: string;
  /** Who requested it; the actor of the event itself if nobody did. */
  readonly by: string;
}

export interface PolicyChange extends Recorded {
  readonly policy_id: string;
  readonly type: 'PolicyCreated' | 'PolicyEdited' | 'PolicyDeleted';
  /** null: deleted. */
  readonly version: number | null;
  readonly settings: JsonObject | null;
  /** Of the version before; null: there was none. */
  readonly before: JsonObject | null;
  /** Restore points that expired under this version so far. */
  readonly expired: number;
}

export interface Deletion extends Recorded {
  readonly type: 'BackupDeleted' | 'VmRemoved' | 'RepositoryDeleted';
  readonly id: string;
  /** null: its first event is not known. */
  readonly name: string | null;
  /** What a deleted backup was; null: no backup. */
  readonly backup: {
    readonly is_restore_point: boolean;
    readonly status_detail: string | null;
    readonly instant: string | null;
    readonly size_bytes: number;
    readonly expiry: {
      readonly policy: string;
      readonly policy_version: number;
      readonly reasons: readonly { readonly rule: string; readonly outcome: string; readonly period: string | null }[];
    } | null;
  } | null;
}

export interface ProtectionChange extends Recorded {
  readonly type: 'RestorePointPinned' | 'RestorePointUnpinned' | 'RestorePointHeld' | 'RestorePointReleased';
  readonly backup_id: string;
  readonly vm: string | null;
  readonly instant: string | null;
  readonly reason: string;
}

export type AccessKind = 'restore' | 'download' | 'open';

export interface Access extends Recorded {
  readonly kind: AccessKind;
  readonly operation: string;
  readonly id: string;
  readonly backup_id: string;
  readonly vm: string;
  readonly instant: string | null;
  readonly address: string | null;
  readonly target: string | null;
  readonly outcome: string | null;
  readonly bytes_sent: number | null;
}

export interface ChangesFacts {
  readonly policies: readonly PolicyChange[];
  readonly deletions: readonly Deletion[];
  readonly protections: readonly ProtectionChange[];
  readonly accesses: readonly Access[];
}

const POLICY_CHANGES = { PolicyCreated: 'created', PolicyEdited: 'edited', PolicyDeleted: 'deleted' } as const;
const PROTECTION_CHANGES = {
  RestorePointPinned: 'pinned',
  RestorePointUnpinned: 'unpinned',
  RestorePointHeld: 'held',
  RestorePointReleased: 'released',
} as const;

/** What was changed and deleted in a period, and who read data. All tables in the order in which it was recorded. */
export function changesReport({ policies, deletions, protections, accesses }: ChangesFacts): ReportContent {
  const ofKind = (kind: AccessKind): number => accesses.filter((access) => access.kind === kind).length;
  const points = deletions.filter(({ backup }) => backup?.is_restore_point === true);
  return {
    totals: {
      policy_changes: policies.length,
      deletions: deletions.length,
      restore_points_deleted: points.length,
      deleted_by_request: points.filter(({ by }) => !isHub(by)).length,
      protections: protections.length,
      restores: ofKind('restore'),
      downloads: ofKind('download'),
      mounts_and_exports: ofKind('open'),
    },
    tables: {
      policies: policies.map(({ type, settings, before, ...change }): ReportRow => ({
        ...change,
        policy: nameOf(settings) ?? nameOf(before),
        change: POLICY_CHANGES[type],
        settings: settings === null || before === null ? null : settingsChange(before, settings),
      })),
      deletions: deletions.map(deletionRow),
      protections: protections.map(({ type, ...change }): ReportRow => ({ ...change, change: PROTECTION_CHANGES[type] })),
      accesses: accesses.map(({ kind: _kind, ...access }): ReportRow => access),
    },
  };
}

function nameOf(settings: JsonObject | null): string | null {
  const name = settings?.['name'];
  return typeof name === 'string' ? name : null;
}

function deletionRow({ type, backup, ...deletion }: Deletion): ReportRow {
  const row = { ...deletion, instant: backup?.instant ?? null, size_bytes: backup?.is_restore_point === true ? backup.size_bytes : null };
  switch (type) {
    case 'VmRemoved':
      return { ...row, what: 'vm', reason: 'requested' };
    case 'RepositoryDeleted':
      return { ...row, what: 'repository', reason: 'requested' };
    case 'BackupDeleted':
      return backup?.is_restore_point === true
        ? { ...row, what: 'restore_point', reason: backup.expiry !== null && isHub(deletion.by) ? expiryText(backup.expiry) : 'requested' }
        : { ...row, what: 'failed_backup', reason: backup?.status_detail ?? 'requested' };
  }
}

/** Nobody requested it: the hub followed its policies. */
function isHub(actor: string): boolean {
  return actor.startsWith('system:');
}

/** `expired, nightly (version 3): keep_daily exceeded, keep_weekly not first of 2026-W48` */
function expiryText({ policy, policy_version, reasons }: NonNullable<NonNullable<Deletion['backup']>['expiry']>): string {
  const rules = reasons.map(({ rule, outcome, period }) => `${rule} ${outcome === 'not_first' ? `not first of ${period ?? 'its period'}` : outcome}`);
  return `expired, ${policy} (version ${policy_version}): ${rules.length === 0 ? 'no rule keeps it' : rules.join(', ')}`;
}
