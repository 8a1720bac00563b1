import { mkdir } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { DomainError } from '../../../kernel/domain-error.js';
import { isUuid } from '../../../kernel/uuid.js';
import { Clock } from '../../../lib/clock/clock.js';
import { NodeConfig } from '../../node.config.js';
import { LibvirtError } from '../../libvirt/libvirt-error.js';
import { Virsh } from '../../libvirt/virsh.js';
import { NbdInfo } from '../../../lib/nbd/nbd-info.js';
import type { NodeDisk, NodeVm } from '../../../contract/vm-list.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import type { StandingSnapshot } from '../../model/job.state.js';
import { failure, ImageServers } from '../image-servers.js';
import { type SnapshotRequest, Source, type SweepReport, type TakenSnapshot } from '../source.port.js';
import { redefinitionXml } from './backup-documents.js';
import { asDomainError, type InspectedDisk, type InspectedDomain, inspectDomain } from './inspect-domain.js';
import { LiveSnapshots } from './live-snapshots.js';
import { OfflineSnapshots } from './offline-snapshots.js';
import { readRecord } from './snapshot-record.js';

const VMS_AT_ONCE = 4;

/** libvirt domains, addressed by uuid, so that a rename changes nothing. */
@Injectable()
export class LibvirtSource extends Source {
  override readonly kind = 'libvirt';
  private readonly virsh: Virsh;
  private readonly live: LiveSnapshots;
  private readonly offline: OfflineSnapshots;

  constructor(
    private readonly config: NodeConfig,
    private readonly qemuImg: QemuImg,
    private readonly servers: ImageServers,
    nbdInfo: NbdInfo,
    clock: Clock,
  ) {
    super();
    this.virsh = new Virsh(config.libvirtUri);
    this.live = new LiveSnapshots(this.virsh, nbdInfo, clock, {
      scratchDirectory: config.libvirtScratchDirectory,
      scratchMaxBytes: () => config.libvirtScratchMaxBytes,
    });
    this.offline = new OfflineSnapshots(this.virsh, servers, clock);
  }

  override async discover(): Promise<readonly NodeVm[]> {
    return (await this.inspectAll()).map(nodeVm);
  }

  override async describe(sourceRef: string): Promise<NodeVm> {
    const domain = await this.inspect(uuidOf(sourceRef));
    return { ...nodeVm(domain), definition: { format: 'libvirt-domain-xml', text: domain.definition } };
  }

  /** Does not query libvirt: any later use of the domain finds out whether it exists. */
  override canonicalRef(sourceRef: string): Promise<string> {
    return new Promise((resolve) => resolve(uuidOf(sourceRef)));
  }

  override async takeSnapshot(request: SnapshotRequest): Promise<TakenSnapshot> {
    const uuid = uuidOf(request.sourceRef);
    try {
      const domain = await this.inspect(uuid);
      checkDisks(domain, request);
      await mkdir(request.directory, { recursive: true, mode: 0o700 });
      if (!domain.active) return await this.offline.take(request, domain);
      return await this.live.take(request, domain);
    } catch (error) {
      throw asDomainError(error, uuid);
    }
  }

  override async confirmSnapshot(directory: string, snapshot: StandingSnapshot): Promise<void> {
    const record = await readRecord(directory);
    if (record === null) throw new DomainError('conflict', 'snapshot_lost', "The node's record of the snapshot is gone.");
    if (record.mode === 'live') await this.live.confirm(directory, record);
    else await this.servers.confirm(directory, snapshot);
  }

  override async verifySnapshot(sourceRef: string, snapshot: StandingSnapshot): Promise<void> {
    // A running guest writes to the scratch files, so there is nothing to compare.
    if (snapshot.disks.every((disk) => disk.witness === '')) return;
    await this.offline.verify(await this.inspect(uuidOf(sourceRef)), snapshot);
  }

  override async releaseSnapshot(directory: string): Promise<void> {
    const record = await readRecord(directory);
    if (record === null) return;
    if (record.mode === 'live') await this.live.release(directory, record);
    await this.servers.release(directory);
  }

  override async changeIds(): Promise<readonly { readonly source_ref: string; readonly name: string; readonly change_ids: readonly string[] }[]> {
    return (await this.inspectAll()).map(({ uuid, name, checkpoints, disks }) => {
      return { source_ref: uuid, name, change_ids: [...new Set([...checkpoints, ...disks.flatMap((disk) => disk.storedBitmaps)])] };
    });
  }

  override async sweep(living: () => readonly string[]): Promise<SweepReport> {
    try {
      return await this.live.sweep(living);
    } catch (error) {
      throw asDomainError(error, '');
    }
  }

  override async removeChangeIds(sourceRef: string, isUnneeded: (changeId: string) => boolean): Promise<readonly string[]> {
    const uuid = uuidOf(sourceRef);
    try {
      const domain = await this.inspect(uuid);
      const names = new Set([...domain.checkpoints, ...domain.disks.flatMap((disk) => disk.storedBitmaps)].filter(isUnneeded));
      for (const name of names) await (domain.active ? this.removeLive(domain, name) : this.removeOffline(domain, name));
      return [...names];
    } catch (error) {
      const failure = asDomainError(error, uuid);
      if (failure instanceof DomainError && failure.code === 'vm_not_found') return [];
      throw failure;
    }
  }

  /** qemu removes a bitmap from all files of a disk. A bitmap that libvirt no longer knows is registered first. */
  private async removeLive(domain: InspectedDomain, name: string): Promise<void> {
    if (domain.checkpoints.includes(name)) {
      try {
        await this.virsh.deleteCheckpoint(domain.uuid, name, { metadataOnly: false });
        return;
      } catch (error) {
        if (!(error instanceof LibvirtError) || error.code !== 'libvirt_refused') throw error;
        // The bitmap of one of its disks is gone, for example after a crash of qemu, or the disk is; libvirt then does not remove the others' bitmaps either.
        await this.virsh.deleteCheckpoint(domain.uuid, name, { metadataOnly: true });
      }
    }
    const tracked = domain.disks.filter((disk) => disk.storedBitmaps.includes(name) || disk.changeIds.includes(name)).map((disk) => disk.target);
    if (tracked.length === 0) return;
    const [parent = null] = await this.virsh.leafCheckpoints(domain.uuid);
    const xml = await this.virsh.domainXml(domain.uuid, { inactive: true });
    await this.virsh.redefineCheckpoint(domain.uuid, redefinitionXml({ name, targets: tracked, tracked }, parent, 0, xml));
    await this.virsh.deleteCheckpoint(domain.uuid, name, { metadataOnly: false });
  }

  private async removeOffline(domain: InspectedDomain, name: string): Promise<void> {
    for (const disk of domain.disks) {
      if (!disk.storedBitmaps.includes(name)) continue;
      if (disk.problem?.code === 'disk_in_use') throw failure('conflict', 'disk_in_use', disk.target, disk.problem.detail);
      await this.offline.forget(domain, disk.target, name);
    }
    if (domain.checkpoints.includes(name)) await this.virsh.deleteCheckpoint(domain.uuid, name, { metadataOnly: true });
  }

  private inspect(uuid: string): Promise<InspectedDomain> {
    return inspectDomain(uuid, this.virsh, this.qemuImg, this.config.imageTemplates);
  }

  private async inspectAll(): Promise<readonly InspectedDomain[]> {
    const uuids = await this.virsh.domains().catch((error: unknown) => {
      throw asDomainError(error, '');
    });
    const vms = await pLimit(VMS_AT_ONCE).map(uuids, (uuid) => this.inspectOrNull(uuid));
    return vms.filter((vm) => vm !== null);
  }

  /** A domain that disappears in the meantime must not hide the others. */
  private async inspectOrNull(uuid: string): Promise<InspectedDomain | null> {
    try {
      return await this.inspect(uuid);
    } catch (error) {
      if (error instanceof DomainError && error.code !== 'vm_not_found') throw error;
      return null;
    }
  }
}

/** @throws DomainError for the first disk that differs from the hub's expectation */
function checkDisks(domain: InspectedDomain, request: SnapshotRequest): void {
  const added = domain.disks.find((disk) => !request.disks.some((one) => one.diskKey === disk.target));
  if (added !== undefined) throw failure('conflict', 'disk_added', added.target, `The VM has a new disk "${added.target}" that the backup does not include.`);
  for (const { diskKey, sizeBytes, parentChangeId } of request.disks) {
    const disk = domain.disks.find(({ target }) => target === diskKey);
    if (disk === undefined) throw failure('conflict', 'disk_removed', diskKey, `The VM no longer has the disk "${diskKey}".`);
    if (disk.problem !== null) throw failure('conflict', disk.problem.code, diskKey, disk.problem.detail);
    if (disk.sizeBytes !== sizeBytes) {
      throw failure('conflict', 'disk_resized', diskKey, `Disk "${diskKey}" has ${disk.sizeBytes} bytes, but the backup was prepared for ${sizeBytes}.`);
    }
    if (parentChangeId === null || disk.changeIds.includes(parentChangeId)) continue;
    const known = disk.changeIdProblems.find((problem) => problem.change_id === parentChangeId);
    throw failure(
      'conflict',
      known?.code ?? 'change_id_lost',
      diskKey,
      known?.detail ?? `Disk "${diskKey}" has no usable record of changes since the last backup (${parentChangeId}).`,
    );
  }
}

/** @throws DomainError vm_not_found for an invalid uuid */
function uuidOf(sourceRef: string): string {
  const uuid = sourceRef.toLowerCase();
  if (isUuid(uuid)) return uuid;
  throw new DomainError('not_found', 'vm_not_found', `"${sourceRef}" is not the uuid of a libvirt domain.`, { source_ref: sourceRef });
}

function nodeVm(domain: InspectedDomain): NodeVm {
  return {
    name: domain.name,
    source: 'libvirt',
    source_ref: domain.uuid,
    uuid: domain.uuid,
    state: domain.state,
    disks: domain.disks.map(nodeDisk),
    left_out_disks: domain.leftOut,
  };
}

function nodeDisk(disk: InspectedDisk, index: number): NodeDisk {
  return {
    disk_id: index,
    disk_key: disk.target,
    size_bytes: disk.sizeBytes,
    format: disk.format,
    path: disk.path === '' ? `(${disk.target})` : disk.path,
    change_tracking: disk.tracking,
    change_ids: disk.changeIds,
    broken_change_ids: disk.changeIdProblems.filter(({ code }) => code === 'change_id_broken').map((problem) => problem.change_id),
    problem: disk.problem,
    change_id_problems: disk.changeIdProblems,
  };
}
