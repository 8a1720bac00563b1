import { byText, type ReportContent, type ReportDefinition, type ReportRow } from '../model/report.plan.js';

export const SLA_REPORT = {
  name: 'sla',
  title: 'Service level of VMs',
  version: 1,
  totals: [
    { name: 'vms', heading: 'VMs', unit: 'count' },
    { name: 'promised', heading: 'VMs with an RPO', unit: 'count' },
    { name: 'with_breaches', heading: 'VMs whose RPO was broken', unit: 'count' },
    { name: 'within_percent', heading: 'Time within the RPO', unit: 'percent' },
    { name: 'worst_gap_seconds', heading: 'Worst gap of a VM with an RPO', unit: 'seconds' },
    { name: 'expected', heading: 'Backups expected', unit: 'count' },
    { name: 'made', heading: 'Made', unit: 'count' },
    { name: 'late', heading: 'Of these late', unit: 'count' },
    { name: 'failed', heading: 'Failed', unit: 'count' },
    { name: 'skipped', heading: 'Skipped', unit: 'count' },
    { name: 'missed', heading: 'Missed', unit: 'count' },
    { name: 'unfinished', heading: 'Unfinished', unit: 'count' },
  ],
  tables: [
    {
      name: 'vms',
      heading: 'VMs, the least time within the RPO first',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'policies', heading: 'Policies', unit: 'text' },
        { name: 'rpo_seconds', heading: 'Strictest RPO', unit: 'seconds' },
        { name: 'within_percent', heading: 'Within the RPO', unit: 'percent' },
        { name: 'promised_seconds', heading: 'Time with an RPO', unit: 'seconds' },
        { name: 'broken_seconds', heading: 'Time broken', unit: 'seconds' },
        { name: 'breaches', heading: 'Breaches', unit: 'count' },
        { name: 'worst_gap_seconds', heading: 'Worst gap', unit: 'seconds' },
        { name: 'expected', heading: 'Expected', unit: 'count' },
        { name: 'made', heading: 'Made', unit: 'count' },
        { name: 'late', heading: 'Late', unit: 'count' },
        { name: 'failed', heading: 'Failed', unit: 'count' },
        { name: 'skipped', heading: 'Skipped', unit: 'count' },
        { name: 'missed', heading: 'Missed', unit: 'count' },
        { name: 'unfinished', heading: 'Unfinished', unit: 'count' },
        { name: 'vm_id', heading: 'VM id', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

const SUMMED = ['expected', 'made', 'late', 'failed', 'skipped', 'missed', 'unfinished'] as const;

/** What was promised for a VM in the period, and what was kept. */
export interface VmServiceLevel extends Readonly<Record<(typeof SUMMED)[number], number>> {
  readonly vm_id: string;
  readonly vm_name: string;
  readonly policies: string | null;
  readonly rpo_seconds: number | null;
  readonly promised_seconds: number;
  readonly broken_seconds: number;
  readonly breaches: number;
  readonly worst_gap_seconds: number;
}

/** The service level of each VM, and the totals. */
export function slaReport(levels: readonly VmServiceLevel[]): ReportContent {
  const promised = levels.filter(({ rpo_seconds }) => rpo_seconds !== null);
  const sum = (of: (level: VmServiceLevel) => number): number => levels.reduce((total, level) => total + of(level), 0);
  const sums = Object.fromEntries(SUMMED.map((name) => [name, sum((level) => level[name])]));
  const totals = {
    vms: levels.length,
    promised: promised.length,
    with_breaches: levels.filter(({ breaches }) => breaches > 0).length,
    within_percent: withinPercent(
      sum(({ promised_seconds }) => promised_seconds),
      sum(({ broken_seconds }) => broken_seconds),
    ),
    worst_gap_seconds: promised.length === 0 ? null : promised.reduce((worst, level) => Math.max(worst, level.worst_gap_seconds), 0),
    ...sums,
  };
  const rows = levels.map((level): ReportRow => {
    const { vm_name, ...values } = level;
    return { ...values, vm: vm_name, within_percent: withinPercent(level.promised_seconds, level.broken_seconds) };
  });
  // VMs without an RPO come last: a letter follows the digits.
  const share = ({ within_percent }: ReportRow): string => (within_percent === null ? 'none' : Number(within_percent).toFixed(2).padStart(6, '0'));
  const text = (name: string) => (row: ReportRow) => String(row[name]);
  return { totals, tables: { vms: rows.toSorted(byText(share, text('vm'), text('vm_id'))) } };
}

/** Rounded down, so that 100 means all the time; null: nothing was promised. */
function withinPercent(promised: number, broken: number): number | null {
  return promised === 0 ? null : Math.floor((Math.max(0, promised - broken) / promised) * 10_000) / 100;
}
