/** A restore point as its manifest describes it; also the shape that --json prints. */
export type FoundPoint = {
  readonly backup_id: string;
  readonly folder: string;
  readonly vm_id: string;
  readonly vm_name: string;
  readonly backup_type: 'full' | 'incremental';
  readonly instant: string;
  readonly parent_backup_id: string | null;
  readonly chain_id: string;
  readonly disks: readonly { readonly disk_id: number; readonly disk_key: string; readonly virtual_size_bytes: number; readonly file_size_bytes: number }[];
};

export type Choice = { readonly point: FoundPoint } | { readonly problem: string };

/** Finds the requested restore point: by its id, the end of its id, or its folder; without any of these, the newest one of the VM (or of the only VM). */
export function choosePoint(points: readonly FoundPoint[], wanted: { readonly point?: string | undefined; readonly vm?: string | undefined }): Choice {
  const ofVm = wanted.vm === undefined ? points : points.filter(({ vm_name, vm_id }) => vm_name === wanted.vm || vm_id === wanted.vm);
  if (ofVm.length === 0)
    return { problem: wanted.vm === undefined ? 'the repository holds no restore points' : `the repository holds no restore point of a VM "${wanted.vm}"` };
  if (wanted.point === undefined || wanted.point === 'latest') {
    const vms = new Set(ofVm.map(({ vm_id }) => vm_id));
    if (vms.size > 1) return { problem: 'the repository holds several VMs: choose one with --vm NAME, or a restore point with --point ID' };
    const newest = [...ofVm].sort((a, b) => a.instant.localeCompare(b.instant)).at(-1);
    return newest === undefined ? { problem: 'the repository holds no restore points' } : { point: newest };
  }
  const text = wanted.point.toLowerCase();
  const matching = ofVm.filter(
    ({ backup_id, folder }) => backup_id === text || backup_id.endsWith(text) || folder === wanted.point || folder.endsWith(`/${wanted.point ?? ''}`),
  );
  const [only, ...others] = matching;
  if (only === undefined) return { problem: `there is no restore point ${wanted.point}; use the command "list" to see all restore points` };
  if (others.length > 0) return { problem: `"${wanted.point}" matches ${matching.length} restore points; give more of the id` };
  return { point: only };
}

/** A restore point and its ancestors, oldest first; `missing` is the id of a parent that is not in the repository. */
export function chainOf(point: FoundPoint, points: readonly FoundPoint[]): { readonly chain: readonly FoundPoint[]; readonly missing: string | null } {
  const chain: FoundPoint[] = [point];
  for (let at = point; at.parent_backup_id !== null;) {
    const parent = points.find(({ backup_id }) => backup_id === at.parent_backup_id);
    if (parent === undefined || chain.includes(parent)) return { chain, missing: at.parent_backup_id };
    chain.unshift(parent);
    at = parent;
  }
  return { chain, missing: null };
}
