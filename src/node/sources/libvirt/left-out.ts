import type { DomainDisk } from '../../../lib/libvirt/domain-xml.js';
import type { NodeLeftOutDisk } from '../../../contract/vm-list.js';

/** Why backups exclude a device of a domain; null: they include it. */
export function leftOut(disk: DomainDisk): NodeLeftOutDisk | null {
  const because = (reason: string, detail: string): NodeLeftOutDisk => ({ disk_key: disk.target, reason, detail });
  if (disk.device === 'cdrom') return because('cdrom', 'It is a CD-ROM drive.');
  if (disk.device === 'floppy') return because('floppy', 'It is a floppy drive.');
  if (disk.device === 'lun')
    return because('passthrough', 'It is a SCSI device that is passed through to the guest, so the hypervisor does not see its writes.');
  if (disk.type === 'network') return because('network_disk', 'It is on network storage; only disks in files and on block devices are backed up.');
  if (disk.type !== 'file' && disk.type !== 'block' && disk.type !== 'volume') {
    return because('passthrough', `It has type "${disk.type}", which the guest uses without the hypervisor.`);
  }
  if (disk.shareable) return because('shared', 'It is shared with other VMs, so it has no instant of its own.');
  if (disk.readOnly) return because('read_only', 'It is read-only.');
  if (disk.transient) return because('transient', 'Its writes are discarded when the VM is powered off.');
  if (disk.path === null && disk.volume === null) return because('no_medium', 'It has neither a file nor a device.');
  return null;
}
