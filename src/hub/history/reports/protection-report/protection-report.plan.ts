import { byText, type ReportContent, type ReportDefinition, type ReportRow } from '../model/report.plan.js';

export const PROTECTION_REPORT = {
  name: 'protection',
  title: 'Protection of VMs',
  version: 2,
  totals: [
    { name: 'vms', heading: 'VMs', unit: 'count' },
    { name: 'kept', heading: 'RPO kept', unit: 'count' },
    { name: 'broken', heading: 'RPO broken', unit: 'count' },
    { name: 'no_rpo', heading: 'With a policy, without an RPO', unit: 'count' },
    { name: 'without_policy', heading: 'Without a policy', unit: 'count' },
    { name: 'never_backed_up', heading: 'Never backed up', unit: 'count' },
    { name: 'without_restore_point', heading: 'Without a good restore point', unit: 'count' },
    { name: 'copied', heading: 'With a copy of the last good one', unit: 'count' },
    { name: 'restore_points', heading: 'Restore points', unit: 'count' },
    { name: 'damaged', heading: 'Damaged restore points', unit: 'count' },
  ],
  tables: [
    {
      name: 'vms',
      heading: 'VMs, those at risk first',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'status', heading: 'Protection', unit: 'text' },
        { name: 'policies', heading: 'Policies', unit: 'text' },
        { name: 'rpo_policy', heading: 'RPO of', unit: 'text' },
        { name: 'rpo_policy_version', heading: 'Version', unit: 'count' },
        { name: 'rpo_seconds', heading: 'RPO', unit: 'seconds' },
        { name: 'age_seconds', heading: 'Age', unit: 'seconds' },
        { name: 'last_good', heading: 'Last good restore point', unit: 'time' },
        { name: 'verified', heading: 'Verified', unit: 'time' },
        { name: 'copies', heading: 'Copies', unit: 'count' },
        { name: 'vm_verified', heading: 'Any verified', unit: 'time' },
        { name: 'restore_points', heading: 'Restore points', unit: 'count' },
        { name: 'damaged', heading: 'Damaged', unit: 'count' },
        { name: 'pinned', heading: 'Pinned', unit: 'count' },
        { name: 'held', heading: 'Held', unit: 'count' },
        { name: 'last_good_backup_id', heading: 'Backup', unit: 'id' },
        { name: 'vm_id', heading: 'VM id', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

/** What is known about one VM. */
export interface VmProtection {
  readonly vm: { readonly vm_id: string; readonly name: string; readonly newest: { readonly backup_id: string; readonly instant: string } | null };
  readonly policies: readonly {
    readonly policy_id: string;
    readonly settings: { readonly name: string; readonly enabled: boolean };
  }[];
  readonly promise: { readonly policy_id: string; readonly policy_version: number; readonly rpo_seconds: number } | null;
  readonly status: 'kept' | 'broken' | 'no_rpo' | 'without_policy';
  readonly age_seconds: number | null;
}

export interface VmRestorePoints {
  readonly restore_points: number;
  readonly damaged: number;
  readonly pinned: number;
  readonly held: number;
}

export interface ProtectionFacts {
  readonly protections: readonly VmProtection[];
  /** By VM; none: it has no restore point now. */
  readonly points: ReadonlyMap<string, VmRestorePoints>;
  /** VMs that had a restore point once. */
  readonly backedUp: ReadonlySet<string>;
  /** The newest verification that a VM's restore point passed, by VM. */
  readonly verified: ReadonlyMap<string, string>;
  /** The same, by backup. */
  readonly pointVerified: ReadonlyMap<string, string>;
  /** Good copies in other repositories, by backup; none: it has no copy. */
  readonly copies: ReadonlyMap<string, number>;
}

const NO_POINTS: VmRestorePoints = { restore_points: 0, damaged: 0, pinned: 0, held: 0 };
/** In the order of the report. */
const STATUSES = ['broken', 'without_policy', 'no_rpo', 'kept'] as const;

/** How each VM is protected, and the totals. */
export function protectionReport({ protections, points, backedUp, verified, pointVerified, copies }: ProtectionFacts): ReportContent {
  const copiesOf = (newest: VmProtection['vm']['newest']): number => (newest === null ? 0 : (copies.get(newest.backup_id) ?? 0));
  const rows = protections.map(({ vm, policies, promise, status, age_seconds }): ReportRow => {
    const { vm_id, name, newest } = vm;
    const promising = policies.find(({ policy_id }) => policy_id === promise?.policy_id);
    return {
      vm: name,
      status,
      policies: policies.length === 0 ? null : policies.map(({ settings }) => `${settings.name}${settings.enabled ? '' : ' (disabled)'}`).join(', '),
      rpo_policy: promising?.settings.name ?? null,
      rpo_policy_version: promise?.policy_version ?? null,
      rpo_seconds: promise?.rpo_seconds ?? null,
      age_seconds,
      last_good: newest?.instant ?? null,
      verified: newest === null ? null : (pointVerified.get(newest.backup_id) ?? null),
      copies: copiesOf(newest),
      vm_verified: verified.get(vm_id) ?? null,
      ...(points.get(vm_id) ?? NO_POINTS),
      last_good_backup_id: newest?.backup_id ?? null,
      vm_id,
    };
  });
  const count = (counts: (one: VmProtection) => boolean): number => protections.filter(counts).length;
  const sum = (of: keyof VmRestorePoints): number => protections.reduce((total, { vm }) => total + (points.get(vm.vm_id) ?? NO_POINTS)[of], 0);
  const totals = {
    vms: protections.length,
    kept: count(({ status }) => status === 'kept'),
    broken: count(({ status }) => status === 'broken'),
    no_rpo: count(({ status }) => status === 'no_rpo'),
    without_policy: count(({ status }) => status === 'without_policy'),
    never_backed_up: count(({ vm }) => !points.has(vm.vm_id) && !backedUp.has(vm.vm_id)),
    without_restore_point: count(({ vm }) => vm.newest === null),
    copied: count(({ vm }) => copiesOf(vm.newest) > 0),
    restore_points: sum('restore_points'),
    damaged: sum('damaged'),
  };
  const urgency = (row: ReportRow): string => String(STATUSES.findIndex((status) => status === row['status']));
  return {
    totals,
    tables: {
      vms: rows.toSorted(
        byText(
          urgency,
          (row) => String(row['vm']),
          (row) => String(row['vm_id']),
        ),
      ),
    },
  };
}
