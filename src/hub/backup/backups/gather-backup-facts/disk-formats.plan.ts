import { DomainError } from '../../../../kernel/domain-error.js';

interface Disk {
  readonly disk_key: string;
  readonly size_bytes: number;
  readonly format: string;
}

/**
 * A disk keeps the format that it was registered with. A guest writes the first bytes of its raw disk: read as QCOW2, they would choose which file of the host is read.
 * @param known as registered, or as of the last backup
 * @throws DomainError disk_format_changed (conflict)
 */
export function refuseOtherFormat(vmName: string, known: readonly Disk[], found: readonly Disk[]): void {
  for (const { disk_key, format } of found) {
    const before = known.find((disk) => disk.disk_key === disk_key);
    // One without a size could not be read then, so its format was not known.
    if (before === undefined || before.size_bytes === 0 || before.format === format) continue;
    throw new DomainError(
      'conflict',
      'disk_format_changed',
      `Disk "${disk_key}" of VM "${vmName}" was registered as ${before.format} and is ${format} now. If a snapshot did that, commit it (virsh blockcommit); if the definition is wrong, correct it; ` +
        'if the disk was converted or replaced on purpose, remove the VM here and register it again. Its restore points stay.',
      { disk_key, registered_format: before.format, format },
    );
  }
}
