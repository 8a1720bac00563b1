import type { Period } from '../model/period.plan.js';
import { byText, type ReportContent, type ReportDefinition, type ReportRow } from '../model/report.plan.js';

const POINTS = { name: 'restore_points', heading: 'Restore points', unit: 'count' } as const;
const SIZES = [
  { name: 'size_bytes', heading: 'Size', unit: 'bytes' },
  { name: 'size_at_begin_bytes', heading: 'At the beginning', unit: 'bytes' },
  { name: 'growth_bytes', heading: 'Growth', unit: 'bytes' },
  { name: 'growth_per_day_bytes', heading: 'Growth per day', unit: 'bytes' },
] as const;

export const CAPACITY_REPORT = {
  name: 'capacity',
  title: 'Capacity of repositories',
  version: 1,
  totals: [
    { name: 'repositories', heading: 'Repositories', unit: 'count' },
    { name: 'vms', heading: 'VMs with restore points', unit: 'count' },
    POINTS,
    ...SIZES,
  ],
  tables: [
    {
      name: 'vms',
      heading: 'VMs by repository, those that grew most first',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'repository', heading: 'Repository', unit: 'text' },
        POINTS,
        ...SIZES,
        { name: 'share_percent', heading: 'Share of the repository', unit: 'percent' },
        { name: 'vm_id', heading: 'VM id', unit: 'id' },
        { name: 'repository_id', heading: 'Repository id', unit: 'id' },
      ],
    },
    {
      name: 'repositories',
      heading: 'Repositories',
      columns: [
        { name: 'repository', heading: 'Repository', unit: 'text' },
        { name: 'vms', heading: 'VMs', unit: 'count' },
        POINTS,
        ...SIZES,
        { name: 'total_bytes', heading: 'File system', unit: 'bytes' },
        { name: 'free_bytes', heading: 'Free', unit: 'bytes' },
        { name: 'measured_at', heading: 'Measured', unit: 'time' },
        { name: 'full_on', heading: 'Full on', unit: 'text' },
        { name: 'forecast', heading: 'Forecast', unit: 'text' },
        { name: 'repository_id', heading: 'Repository id', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

/** The files of a VM's restore points in one repository, at one instant. */
export interface StoredVm {
  readonly vm_id: string;
  readonly vm: string;
  readonly repository_id: string;
  readonly restore_points: number;
  readonly size_bytes: number;
}

export interface CapacityFacts {
  /** When the period begins. */
  readonly begin: readonly StoredVm[];
  /** When it ends. */
  readonly end: readonly StoredVm[];
  /** By id. */
  readonly repositories: ReadonlyMap<string, string>;
  /** The space of repositories when the period ends, by id; none: it was never measured. */
  readonly spaces: ReadonlyMap<string, RepositorySpace>;
}

export interface RepositorySpace {
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly measured_at: string;
  /** A date; null: see reason. */
  readonly full_on: string | null;
  readonly reason: string | null;
}

interface Sizes {
  readonly restore_points: number;
  readonly size_bytes: number;
  readonly size_at_begin_bytes: number;
}

type Usage = Sizes & Pick<StoredVm, 'vm_id' | 'vm' | 'repository_id'>;

/** What the restore points of each VM use in each repository, and how that changed in the period. */
export function capacityReport({ begin, end, repositories, spaces }: CapacityFacts, { from, until }: Period): ReportContent {
  const days = (Date.parse(until) - Date.parse(from)) / 86_400_000;
  const usages = usagesOf(begin, end);
  const nameOf = (id: string): string => repositories.get(id) ?? id;
  const byRepository = Map.groupBy(usages, ({ repository_id }) => repository_id);
  const ids = [...new Set([...repositories.keys(), ...byRepository.keys()])];
  const sizesOf = ({ restore_points, size_bytes, size_at_begin_bytes }: Sizes): Sizes & ReportRow => {
    const growth_bytes = size_bytes - size_at_begin_bytes;
    return { restore_points, size_bytes, size_at_begin_bytes, growth_bytes, growth_per_day_bytes: Math.round(growth_bytes / days) };
  };
  const ofRepository = new Map(ids.map((id) => [id, sum(byRepository.get(id) ?? [])]));
  const vms = usages.map((usage): ReportRow & { readonly growth_bytes: number } => {
    const { vm, vm_id, repository_id } = usage;
    const all = ofRepository.get(repository_id)?.size_bytes ?? 0;
    const share_percent = all === 0 ? null : Math.round((usage.size_bytes / all) * 10_000) / 100;
    const growth_bytes = usage.size_bytes - usage.size_at_begin_bytes;
    return { vm, vm_id, repository_id, repository: nameOf(repository_id), share_percent, ...sizesOf(usage), growth_bytes };
  });
  const withPoints = (of: readonly Usage[]): number => new Set(of.filter(({ restore_points }) => restore_points > 0).map(({ vm_id }) => vm_id)).size;
  const text = (name: string) => (row: ReportRow) => String(row[name]);
  const inOrder = byText<ReportRow>(text('vm'), text('repository'), text('vm_id'), text('repository_id'));
  const rows = ids.map((id): ReportRow => ({
    repository: nameOf(id),
    repository_id: id,
    vms: withPoints(byRepository.get(id) ?? []),
    ...sizesOf(ofRepository.get(id) ?? sum([])),
    ...spaceOf(spaces.get(id)),
  }));
  return {
    totals: { repositories: ids.length, vms: withPoints(usages), ...sizesOf(sum(usages)) },
    tables: {
      vms: vms.toSorted((a, b) => b.growth_bytes - a.growth_bytes || inOrder(a, b)),
      repositories: rows.toSorted(byText(text('repository'), text('repository_id'))),
    },
  };
}

/** Also of a VM all of whose restore points were removed in the period. */
function usagesOf(begin: readonly StoredVm[], end: readonly StoredVm[]): readonly Usage[] {
  const keyOf = ({ vm_id, repository_id }: StoredVm): string => `${vm_id} ${repository_id}`;
  const before = new Map(begin.map((stored) => [keyOf(stored), stored]));
  const standing = new Set(end.map(keyOf));
  const gone = begin.filter((stored) => !standing.has(keyOf(stored))).map((stored) => ({ ...stored, restore_points: 0, size_bytes: 0 }));
  return [...end, ...gone].map((stored) => ({ ...stored, size_at_begin_bytes: before.get(keyOf(stored))?.size_bytes ?? 0 }));
}

function spaceOf(space: RepositorySpace | undefined): ReportRow {
  if (space === undefined) return { total_bytes: null, free_bytes: null, measured_at: null, full_on: null, forecast: 'never_measured' };
  const { reason, ...measured } = space;
  return { ...measured, forecast: reason ?? 'full' };
}

function sum(usages: readonly Usage[]): Sizes {
  const of = (name: keyof Sizes): number => usages.reduce((total, usage) => total + usage[name], 0);
  return { restore_points: of('restore_points'), size_bytes: of('size_bytes'), size_at_begin_bytes: of('size_at_begin_bytes') };
}
