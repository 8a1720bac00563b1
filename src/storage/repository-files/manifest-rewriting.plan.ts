import type { Manifest, ManifestDisk, RewriteRecord, Rewriting } from './manifest.js';

/** `full_reason` of a restore point that was an incremental. */
export const FLATTENED = 'flattened';

/**
 * The manifest that describes the files as they are, at any time of a rewriting.
 * @param replaced the files that are the new ones already
 */
export function manifestAsFound(stored: Manifest, replaced: ReadonlySet<string>): Manifest {
  const { rewriting } = stored;
  if (rewriting === undefined) return stored;
  if (rewriting.disks.every(({ file }) => replaced.has(file))) return finishedManifest(stored, rewriting);
  return {
    ...stored,
    disks: withEntries(
      stored.disks,
      rewriting.disks.filter(({ file }) => replaced.has(file)),
    ),
  };
}

/** The manifest once all files of the rewriting are replaced. */
export function finishedManifest({ rewriting: _, ...stored }: Manifest, rewriting: Rewriting): Manifest {
  const { parent } = rewriting;
  return {
    ...stored,
    backup_type: parent === null ? 'full' : 'incremental',
    full_reason: parent === null ? FLATTENED : null,
    parent,
    disks: withEntries(stored.disks, rewriting.disks),
    rewrites: [...(stored.rewrites ?? []), recordOf(stored.disks, rewriting)],
  };
}

function recordOf(before: readonly ManifestDisk[], { operation, at, merged, disks }: Rewriting): RewriteRecord {
  const byFile = new Map(before.map((disk) => [disk.file, disk]));
  return {
    operation,
    at,
    merged,
    disks: disks.map((after) => ({ file: after.file, before: identityOf(byFile.get(after.file) ?? after), after: identityOf(after) })),
  };
}

function identityOf({ sha256, file_size_bytes }: ManifestDisk): RewriteRecord['disks'][number]['after'] {
  return { sha256, file_size_bytes };
}

function withEntries(disks: readonly ManifestDisk[], entries: readonly ManifestDisk[]): readonly ManifestDisk[] {
  const byFile = new Map(entries.map((entry) => [entry.file, entry]));
  return disks.map((disk) => byFile.get(disk.file) ?? disk);
}
