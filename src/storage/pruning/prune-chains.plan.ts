import { DomainError } from '../../kernel/domain-error.js';

/** A restore point as pruning sees it. */
export interface PrunablePoint {
  readonly backup_id: string;
  /** null: a full. */
  readonly parent_backup_id: string | null;
  /** Whether it is to be removed. */
  readonly expired: boolean;
  /** Whether new files may be made of it and of what it depends on: not if one of them is damaged. */
  readonly rewritable: boolean;
  /** Lengths of its files. */
  readonly files: readonly { readonly disk_id: number; readonly size_bytes: number; readonly has_backing: boolean }[];
}

export interface StepBytes {
  readonly read_bytes: number;
  /** At most. */
  readonly write_bytes: number;
  /** Space that the new files take while the old ones exist, at most. */
  readonly new_bytes: number;
  /** Length of the files that go, less the growth of those that stay. */
  readonly free_bytes: number;
}

export type PruneStep =
  | ({ readonly kind: 'drop'; readonly backup_id: string } & StepBytes)
  | ({ readonly kind: 'flatten'; readonly backup_id: string; readonly merged: readonly string[] } & StepBytes)
  | ({ readonly kind: 'absorb'; readonly backup_id: string; readonly parent_backup_id: string; readonly merged: readonly string[] } & StepBytes);

export interface PrunePlan extends StepBytes {
  /** In this order; a restore point is dropped after all that depend on it were rewritten. */
  readonly steps: readonly PruneStep[];
  /** Expired restore points that stay, because the other one depends on them and cannot be rewritten. */
  readonly left: readonly { readonly backup_id: string; readonly needed_by: string }[];
}

/** Each merged file is read to be hashed, merged and compared. */
const READS = 3;

/**
 * The cheapest steps that remove the expired restore points of one VM and keep the content of all others. A kept restore point is rewritten once at most: based
 * on its nearest kept ancestor, or made a full if it has none.
 * @param freeBytes of the file system; each step needs space for its new files, after what the earlier ones have freed
 * @param sharesBlocks whether a copy of a file takes no space of its own (XFS, btrfs)
 * @throws DomainError `prune_needs_space` (storage_full)
 */
export function planPruning(points: readonly PrunablePoint[], freeBytes: number, sharesBlocks: boolean): PrunePlan {
  const byId = new Map(points.map((point) => [point.backup_id, point]));
  const left = leftFor(points, byId);
  const goes = ({ backup_id, expired }: PrunablePoint): boolean => expired && !left.has(backup_id);

  const rewritten = new Map<string, PruneStep>();
  for (const point of points) {
    if (goes(point)) continue;
    const merged: PrunablePoint[] = [];
    let below = parentOf(point, byId);
    for (; below !== null && goes(below); below = parentOf(below, byId)) merged.push(below);
    if (merged.length > 0) rewritten.set(point.backup_id, rewriteStep(point, merged, below, sharesBlocks));
  }

  // A restore point goes as soon as the last one that contains it was rewritten; small new files first, so that their drops make room.
  const neededBy = new Map<string, Set<string>>();
  for (const step of rewritten.values()) {
    for (const each of mergedBy(step)) neededBy.set(each, (neededBy.get(each) ?? new Set()).add(step.backup_id));
  }
  const dropped = new Set<string>();
  const going = newestFirst(points.filter(goes), byId);
  const dropReady = (): readonly PruneStep[] =>
    going
      .filter((point) => !dropped.has(point.backup_id) && (neededBy.get(point.backup_id)?.size ?? 0) === 0)
      .map((point) => {
        dropped.add(point.backup_id);
        return { kind: 'drop', backup_id: point.backup_id, read_bytes: 0, write_bytes: 0, new_bytes: 0, free_bytes: lengthOf(point) };
      });
  const steps: PruneStep[] = [...dropReady()];
  for (const step of [...rewritten.values()].sort((a, b) => a.new_bytes - b.new_bytes)) {
    for (const needing of neededBy.values()) needing.delete(step.backup_id);
    steps.push(step, ...dropReady());
  }
  refuseWithoutSpace(steps, freeBytes);
  const sum = (member: keyof StepBytes): number => steps.reduce((bytes, step) => bytes + step[member], 0);
  return {
    steps,
    left: [...left].map(([backup_id, needed_by]) => ({ backup_id, needed_by })),
    read_bytes: sum('read_bytes'),
    write_bytes: sum('write_bytes'),
    new_bytes: Math.max(0, ...steps.map(({ new_bytes }) => new_bytes)),
    free_bytes: sum('free_bytes'),
  };
}

/** Expired ancestors of kept restore points that cannot be rewritten, with the one that needs them. */
function leftFor(points: readonly PrunablePoint[], byId: ReadonlyMap<string, PrunablePoint>): ReadonlyMap<string, string> {
  const left = new Map<string, string>();
  for (const point of points) {
    if (point.expired || point.rewritable) continue;
    for (let below = parentOf(point, byId); below !== null; below = parentOf(below, byId)) if (below.expired) left.set(below.backup_id, point.backup_id);
  }
  return left;
}

function rewriteStep(point: PrunablePoint, merged: readonly PrunablePoint[], below: PrunablePoint | null, sharesBlocks: boolean): PruneStep {
  let read = 0;
  let written = 0;
  let added = 0;
  let old = 0;
  for (const file of point.files) {
    if (!file.has_backing) continue;
    const sizes = [file.size_bytes];
    for (const each of merged) {
      const found = each.files.find(({ disk_id }) => disk_id === file.disk_id);
      if (found === undefined) break;
      sizes.push(found.size_bytes);
      if (!found.has_backing) break;
    }
    const all = sizes.reduce((sum, size) => sum + size, 0);
    const copied = sizes.at(-1) ?? 0;
    read += READS * all;
    written += sharesBlocks ? all - copied : all;
    added += all;
    old += file.size_bytes;
  }
  const bytes = { read_bytes: read + added, write_bytes: written, new_bytes: written, free_bytes: old - added };
  const ids = merged.map(({ backup_id }) => backup_id);
  return below === null
    ? { kind: 'flatten', backup_id: point.backup_id, merged: ids, ...bytes }
    : { kind: 'absorb', backup_id: point.backup_id, parent_backup_id: below.backup_id, merged: ids, ...bytes };
}

function refuseWithoutSpace(steps: readonly PruneStep[], freeBytes: number): void {
  let free = freeBytes;
  for (const step of steps) {
    if (step.new_bytes > free) {
      throw new DomainError(
        'storage_full',
        'prune_needs_space',
        `The new files of restore point ${step.backup_id} need up to ${step.new_bytes} bytes, but the repository has ${Math.max(0, free)} bytes free. Add space, or remove fewer restore points.`,
        { backup_id: step.backup_id, needed_bytes: step.new_bytes, free_bytes: free },
      );
    }
    free += step.free_bytes;
  }
}

function mergedBy(step: PruneStep): readonly string[] {
  return step.kind === 'drop' ? [] : step.merged;
}

function parentOf(point: PrunablePoint, byId: ReadonlyMap<string, PrunablePoint>): PrunablePoint | null {
  if (point.parent_backup_id === null) return null;
  const parent = byId.get(point.parent_backup_id);
  if (parent === undefined) throw new Error(`restore point ${point.backup_id} is based on ${point.parent_backup_id}, which is not among those to plan with`);
  return parent;
}

/** Children before their parents. */
function newestFirst(points: readonly PrunablePoint[], byId: ReadonlyMap<string, PrunablePoint>): readonly PrunablePoint[] {
  const depths = new Map<PrunablePoint, number>();
  const depth = (point: PrunablePoint): number => {
    let found = depths.get(point);
    if (found === undefined) {
      const parent = parentOf(point, byId);
      found = parent === null ? 0 : depth(parent) + 1;
      depths.set(point, found);
    }
    return found;
  };
  return [...points].sort((a, b) => depth(b) - depth(a));
}

function lengthOf({ files }: PrunablePoint): number {
  return files.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
}
