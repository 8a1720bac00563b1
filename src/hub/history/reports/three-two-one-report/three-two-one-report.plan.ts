import { byText, type ReportContent, type ReportDefinition, type ReportRow } from '../model/report.plan.js';

export const THREE_TWO_ONE_REPORT = {
  name: 'three-two-one',
  title: '3-2-1: three copies of the data, on two kinds of storage, one off-site',
  version: 1,
  totals: [
    { name: 'vms', heading: 'VMs', unit: 'count' },
    { name: 'kept', heading: '3-2-1 kept', unit: 'count' },
    { name: 'broken', heading: '3-2-1 broken', unit: 'count' },
    { name: 'three', heading: 'Three copies', unit: 'count' },
    { name: 'two', heading: 'Two kinds of storage', unit: 'count' },
    { name: 'one', heading: 'One off-site', unit: 'count' },
  ],
  tables: [
    {
      name: 'vms',
      heading: 'VMs, those at risk first',
      columns: [
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'verdict', heading: '3-2-1', unit: 'text' },
        { name: 'three', heading: '3', unit: 'text' },
        { name: 'two', heading: '2', unit: 'text' },
        { name: 'one', heading: '1', unit: 'text' },
        { name: 'instant', heading: 'Restore point', unit: 'time' },
        { name: 'age_seconds', heading: 'Age', unit: 'seconds' },
        { name: 'places', heading: 'Held by', unit: 'text' },
        { name: 'missing', heading: 'Missing', unit: 'text' },
        { name: 'backup_id', heading: 'Backup', unit: 'id' },
        { name: 'vm_id', heading: 'VM id', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

/** Where a repository is, as it was stated; null: nobody has stated it. */
export interface KnownRepository {
  readonly name: string;
  readonly place: { readonly site: string; readonly off_site: boolean; readonly medium: string } | null;
}

/** A restore point, with the repositories that hold it undamaged. */
export interface HeldPoint {
  readonly backup_id: string;
  readonly vm_id: string;
  readonly instant: string;
  readonly repository_ids: readonly string[];
}

export interface ThreeTwoOneFacts {
  readonly vms: readonly { readonly vm_id: string; readonly name: string }[];
  /** Those of the last `within_hours`, in any order. */
  readonly points: readonly HeldPoint[];
  /** By id. */
  readonly repositories: ReadonlyMap<string, KnownRepository>;
}

export type ThreeTwoOneParameters = {
  readonly at: string;
  /** Decimal. */
  readonly within_hours: string;
};

interface Judged {
  readonly point: HeldPoint;
  readonly three: boolean;
  readonly two: boolean;
  readonly one: boolean;
  readonly places: string;
  readonly missing: readonly string[];
}

const yes = (is: boolean): string => (is ? 'yes' : 'no');

/**
 * Judges each VM by the restore point of the last hours that keeps most of the rule, the newest of several. The VM itself is the first of three copies; what it is
 * stored on is not known, so two kinds of storage must be among its repositories.
 */
export function threeTwoOneReport({ vms, points, repositories }: ThreeTwoOneFacts, { at }: ThreeTwoOneParameters): ReportContent {
  const ofVm = Map.groupBy(points, ({ vm_id }) => vm_id);
  const rows = vms.map(({ vm_id, name }): ReportRow => {
    const best = (ofVm.get(vm_id) ?? []).map((point) => judge(point, repositories)).toSorted(byDigits)[0];
    const { three = false, two = false, one = false } = best ?? {};
    return {
      vm: name,
      verdict: three && two && one ? 'kept' : 'broken',
      three: yes(three),
      two: yes(two),
      one: yes(one),
      instant: best?.point.instant ?? null,
      age_seconds: best === undefined ? null : Math.round((Date.parse(at) - Date.parse(best.point.instant)) / 1_000),
      places: best?.places ?? null,
      missing: best === undefined ? 'no_recent_restore_point' : best.missing.length === 0 ? null : best.missing.join(', '),
      backup_id: best?.point.backup_id ?? null,
      vm_id,
    };
  });
  const count = (name: string, value: string): number => rows.filter((row) => row[name] === value).length;
  const text = (name: string) => (row: ReportRow) => String(row[name]);
  return {
    totals: {
      vms: rows.length,
      kept: count('verdict', 'kept'),
      broken: count('verdict', 'broken'),
      three: count('three', 'yes'),
      two: count('two', 'yes'),
      one: count('one', 'yes'),
    },
    tables: { vms: rows.toSorted(byText(text('verdict'), text('vm'), text('vm_id'))) },
  };
}

function judge(point: HeldPoint, repositories: ReadonlyMap<string, KnownRepository>): Judged {
  const held = point.repository_ids.map((id) => repositories.get(id) ?? { name: id, place: null });
  const three = held.length >= 2;
  const two = new Set(held.flatMap(({ place }) => place?.medium ?? [])).size >= 2;
  const one = held.some(({ place }) => place?.off_site === true);
  const unstated = held.filter(({ place }) => place === null).map(({ name }) => `place_of_${name}_not_stated`);
  return {
    point,
    three,
    two,
    one,
    places: held.map(({ name, place }) => (place === null ? name : `${name} (${place.site}, ${place.medium}${place.off_site ? ', off-site' : ''})`)).join('; '),
    missing: [
      ...(three ? [] : ['second_repository']),
      ...(two ? [] : ['second_kind_of_storage']),
      ...(one ? [] : ['off_site_repository']),
      ...(two && one ? [] : unstated),
    ],
  };
}

function byDigits(a: Judged, b: Judged): number {
  const digits = ({ three, two, one }: Judged): number => Number(three) + Number(two) + Number(one);
  return digits(b) - digits(a) || b.point.instant.localeCompare(a.point.instant);
}
