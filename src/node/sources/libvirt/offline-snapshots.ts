import { realpath } from 'node:fs/promises';
import { DomainError } from '../../../kernel/domain-error.js';
import type { Clock } from '../../../lib/clock/clock.js';
import type { Virsh } from '../../libvirt/virsh.js';
import type { SnapshotDisk, StandingSnapshot } from '../../model/job.state.js';
import { makeSocketDirectory } from '../../../lib/process/socket-place.js';
import { allOrFirstError, asFailure, failure, type ImageServers, type ServedDisk } from '../image-servers.js';
import { type JobDisk, withDisks, witnessOf } from '../job-chains.js';
import type { SnapshotRequest, TakenSnapshot } from '../source.port.js';
import { redefinitionXml } from './backup-documents.js';
import type { InspectedDomain } from './inspect-domain.js';
import { writeRecord } from './snapshot-record.js';

/** Powered-off domains: our own servers serve their files, and the servers' locks keep the domain from being started until the backup has finished. */
export class OfflineSnapshots {
  constructor(
    private readonly virsh: Virsh,
    private readonly servers: ImageServers,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError disk_in_use, snapshot_failed */
  async take(request: SnapshotRequest, domain: InspectedDomain): Promise<TakenSnapshot> {
    const { uuid } = domain;
    await writeRecord(request.directory, { mode: 'offline', uuid, scratch: null, scratchBoundBytes: 0 });
    const sockets = await makeSocketDirectory(request.directory);
    const planned = await Promise.all(request.disks.map(async (disk) => ({ ...(await jobDiskOf(domain, disk.diskKey)), parentChangeId: disk.parentChangeId })));
    return withDisks(planned, (held) => this.fix(request, domain, held, sockets));
  }

  private async fix(request: SnapshotRequest, domain: InspectedDomain, held: readonly ServedDisk[], sockets: string): Promise<TakenSnapshot> {
    await allOrFirstError(held.map(({ key, chain }) => this.servers.record(key, chain, request.changeId)));
    const tracked = held.filter(({ chain }) => chain.top.tracking).map(({ key }) => key);
    await this.createCheckpoint(request.changeId, domain, tracked);
    const witnesses = await Promise.all(held.map(({ chain }) => chain.witness()));
    const opened = await allOrFirstError(held.map((disk, index) => this.servers.serve(disk, index, request.directory, sockets)));
    const instant = this.clock.iso();
    if ((await this.virsh.describe(domain.uuid, { inactive: false })).active) {
      throw new DomainError('conflict', 'disk_in_use', 'The VM was started just before its backup began.', { source_ref: domain.uuid });
    }
    const disks = opened.map(({ served }, index): SnapshotDisk => {
      return { ...served, change_id: tracked.includes(served.disk_key) ? request.changeId : null, witness: witnesses[index] ?? '' };
    });
    return { standing: { instant, disks }, extents: new Map(opened.map(({ served, extents }) => [served.disk_key, extents])) };
  }

  /** Removes a bitmap from a disk's file. @throws DomainError disk_in_use, change_id_not_removed */
  async forget(domain: InspectedDomain, key: string, changeId: string): Promise<void> {
    await withDisks([await jobDiskOf(domain, key)], async (held) => {
      for (const { chain } of held) await this.servers.forget(key, chain, changeId);
    });
  }

  /** Raw files have no effective lock, so they are compared. @throws DomainError source_changed */
  async verify(domain: InspectedDomain, snapshot: StandingSnapshot): Promise<void> {
    for (const disk of snapshot.disks) {
      const now = await jobDiskOf(domain, disk.disk_key)
        .then(witnessOf)
        .catch(() => 'gone');
      if (now === disk.witness) continue;
      throw failure(
        'conflict',
        'source_changed',
        disk.disk_key,
        `Disk "${disk.disk_key}" was changed while it was being copied. Do not change the VM during the backup.`,
      );
    }
  }

  /**
   * libvirt creates checkpoints of running domains only. For a powered-off one the checkpoint is registered, so that libvirt continues from it once the domain
   * runs.
   */
  private async createCheckpoint(changeId: string, domain: InspectedDomain, tracked: readonly string[]): Promise<void> {
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

/** @throws DomainError disk_unreadable */
async function jobDiskOf({ disks, rules }: InspectedDomain, key: string): Promise<JobDisk & { readonly sizeBytes: number }> {
  const disk = disks.find(({ target }) => target === key);
  if (disk === undefined) throw new Error(`disk ${key} was checked but is missing`);
  const { path, format, sizeBytes } = disk;
  const realPath = await realpath(path).catch((error: unknown) => {
    throw asFailure(error, key, 'disk_unreadable');
  });
  return { key, place: { path, realPath }, format, rules, sizeBytes };
}
