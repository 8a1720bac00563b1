import { DomainError } from '../../kernel/domain-error.js';
import { nbdUri, parseExportUri } from '../../lib/nbd/nbd-uri.js';
import { wayToExport } from '../../tunnel/interface/tunnel-sockets.js';

interface ServedDisk {
  readonly disk_key: string;
  readonly uri: string;
  readonly export_key?: string;
}

/** @throws DomainError export_key_missing */
export function requireExportKeys(disks: readonly ServedDisk[]): void {
  const keyless = disks.find(({ uri, export_key }) => export_key === undefined && parseExportUri(uri).needsKey);
  if (keyless === undefined) return;
  const { disk_key } = keyless;
  throw new DomainError('invalid', 'export_key_missing', `The export of disk "${disk_key}" needs a key (nbds), but disks[].export_key is missing.`, {
    disk_key,
  });
}

/** The disks as they may be stored: keys are in separate files only. */
export function withoutKeys<Disk extends ServedDisk>(disks: readonly Disk[]): readonly Omit<Disk, 'export_key'>[] {
  return disks.map(({ export_key: _, ...disk }) => disk);
}

/** The URI by which this node reads a disk at the hub: through its tunnel if it has one, and with the key file if the export needs a key. */
export async function reachedExport(uri: string, keyFile: string, tunnelDirectory: string): Promise<string> {
  const { place, needsKey, exportName } = parseExportUri(uri);
  const way = await wayToExport(place, tunnelDirectory);
  return nbdUri(needsKey ? { ...way, keyFile } : way, exportName);
}
