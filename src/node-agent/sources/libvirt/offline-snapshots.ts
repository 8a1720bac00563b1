import { DomainError } from '../../../kernel/domain-error.js';
import type { Clock } from '../../../platform/clock/clock.js';
import type { Virsh } from '../../../platform/libvirt/virsh.js';
import type { QemuImg } from '../../../platform/qemu/qemu-img.js';
import type { SnapshotDisk, StandingSnapshot } from '../../model/job.state.js';
import { makeSocketDirectory } from '../../../platform/process/socket-place.js';
import { allOrFirstError, failure, type ImageServers, witnessOf } from '../image-servers.js';
import type { SnapshotRequest, TakenSnapshot } from '../source.port.js';
import { redefinitionXml } from './backup-documents.js';
import type { InspectedDisk, InspectedDomain } from './inspect-domain.js';
import { writeRecord } from './snapshot-record.js';

/** Domains that are powered off: their files are served by servers of our own, whose locks keep the domain from being started until the backup is through. */
export class OfflineSnapshots {
  constructor(
    private readonly virsh: Virsh,
    private readonly qemuImg: QemuImg,
    private readonly servers: ImageServers,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError disk_in_use, snapshot_failed */
  async take(request: SnapshotRequest, domain: InspectedDomain): Promise<TakenSnapshot> {
    const { uuid } = domain;
    await writeRecord(request.directory, { mode: 'offline', uuid, scratch: null, scratchBoundBytes: 0 });
    const sockets = await makeSocketDirectory(request.directory);
    const planned = request.disks.map((disk) => ({ ...disk, found: requireDisk(domain, disk.diskKey) }));
    const tracked = planned.filter(({ found }) => found.tracking);
    await allOrFirstError(
      tracked.map(async ({ found }) => {
        const { bitmaps } = await this.qemuImg.info(found.path, { format: found.format });
        await this.servers.record(found.target, found.path, bitmaps, request.changeId, true);
      }),
    );
    await this.tellLibvirt(
      request.changeId,
      domain,
      tracked.map(({ found }) => found.target),
    );
    const witnesses = await Promise.all(planned.map(({ found }) => witnessOf(found.path)));
    const opened = await allOrFirstError(
      planned.map(({ found, parentChangeId }, index) =>
        this.servers.serve(
          { key: found.target, path: found.path, format: found.format, sizeBytes: found.sizeBytes, parentChangeId },
          index,
          request.directory,
          sockets,
        ),
      ),
    );
    const instant = this.clock.iso();
    if ((await this.virsh.describe(uuid, { inactive: false })).active) {
      throw new DomainError('conflict', 'disk_in_use', 'The VM was started just when its backup was to begin.', { source_ref: uuid });
    }
    const disks = opened.map(({ served }, index): SnapshotDisk => {
      return { ...served, change_id: planned[index]?.found.tracking === true ? request.changeId : null, witness: witnesses[index] ?? '' };
    });
    return { standing: { instant, disks }, extents: new Map(opened.map(({ served, extents }) => [served.disk_key, extents])) };
  }

  /** Raw files have no lock that would hold: they are compared. @throws DomainError source_changed */
  async verify(domain: InspectedDomain, snapshot: StandingSnapshot): Promise<void> {
    for (const disk of snapshot.disks) {
      const path = domain.disks.find(({ target }) => target === disk.disk_key)?.path;
      const now = path === undefined ? 'gone' : await witnessOf(path).catch(() => 'gone');
      if (now === disk.witness) continue;
      throw failure(
        'conflict',
        'source_changed',
        disk.disk_key,
        `Disk "${disk.disk_key}" was changed while it was copied. Keep the VM as it is during the backup.`,
      );
    }
  }

  /** libvirt makes checkpoints of running domains only; of one that is off it is told, so that it goes on from there once the domain runs. */
  private async tellLibvirt(changeId: string, domain: InspectedDomain, tracked: readonly string[]): Promise<void> {
    if (tracked.length === 0) return;
    const { uuid } = domain;
    if (domain.checkpoints.includes(changeId)) await this.virsh.deleteCheckpoint(uuid, changeId, { metadataOnly: true });
    const [parent = null] = await this.virsh.leafCheckpoints(uuid);
    const xml = await this.virsh.domainXml(uuid, { inactive: true });
    const seconds = Math.floor(this.clock.now().getTime() / 1000);
    await this.virsh.redefineCheckpoint(uuid, redefinitionXml({ name: changeId, targets: tracked, tracked }, parent, seconds, xml));
    this.virsh.expectCheckpoint(uuid, changeId);
  }
}

function requireDisk(domain: InspectedDomain, key: string): InspectedDisk {
  const disk = domain.disks.find(({ target }) => target === key);
  if (disk === undefined) throw new Error(`disk ${key} was checked and is not there`);
  return disk;
}
