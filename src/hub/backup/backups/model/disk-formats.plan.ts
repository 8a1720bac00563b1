import { DomainError } from '../../../../kernel/domain-error.js';

interface Disk {
  readonly disk_key: string;
  readonly size_bytes: number;
  readonly format: string;
}

/**
 * A disk must keep the format it was registered with. A guest controls the first bytes of its raw disk; if they were read as QCOW2, they could name any file
 * of the host as backing file.
 * @param known the disks as registered, or as of the last backup
 * @throws DomainError disk_format_changed (conflict)
 */
export function refuseOtherFormat(vmName: string, known: readonly Disk[], found: readonly Disk[]): void {
  for (const { disk_key, format } of found) {
    const before = known.find((disk) => disk.disk_key === disk_key);
    // Size 0 means that the disk could not be read then, so its format is not known.
    if (before === undefined || before.size_bytes === 0 || before.format === format) continue;
    throw new DomainError(
      'conflict',
      'disk_format_changed',
      `Disk "${disk_key}" of VM "${vmName}" was registered as ${before.format} but is now ${format}. If a snapshot caused this, commit it (virsh blockcommit). If the definition is wrong, correct it. ` +
        'If the disk was converted or replaced on purpose, remove the VM here and register it again. Its restore points are kept.',
      { disk_key, registered_format: before.format, format },
    );
  }
}
