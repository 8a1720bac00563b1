import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../kernel/domain-error.js';
import { NodeConfig } from '../../../platform/config/node.config.js';
import { Virsh } from '../../../platform/libvirt/virsh.js';
import type { NodeDisk, NodeVm } from '../../../platform/node-api/node-api.js';
import { QemuImg } from '../../../platform/qemu/qemu-img.js';
import { Slots } from '../../transfers/slots.js';
import { Source, type TakenSnapshot } from '../source.port.js';
import { asDomainError, type InspectedDisk, type InspectedDomain, inspectDomain } from './inspect-domain.js';

const VMS_AT_ONCE = 4;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** libvirt domains, addressed by their uuid, so that a rename changes nothing. */
@Injectable()
export class LibvirtSource extends Source {
  override readonly kind = 'libvirt';
  private readonly virsh: Virsh;

  constructor(
    config: NodeConfig,
    private readonly qemuImg: QemuImg,
  ) {
    super();
    this.virsh = new Virsh(config.libvirtUri);
  }

  override async discover(): Promise<readonly NodeVm[]> {
    const slots = new Slots(VMS_AT_ONCE);
    const uuids = await this.virsh.domains().catch((error: unknown) => {
      throw asDomainError(error, '');
    });
    const vms = await Promise.all(uuids.map((uuid) => slots.use(() => this.inspectOrNull(uuid))));
    return vms.filter((vm) => vm !== null).map(nodeVm);
  }

  override async describe(sourceRef: string): Promise<NodeVm> {
    const uuid = uuidOf(sourceRef);
    const domain = await inspectDomain(uuid, this.virsh, this.qemuImg);
    const text = await this.virsh.domainXml(uuid, { inactive: true }).catch((error: unknown) => {
      throw asDomainError(error, uuid);
    });
    return { ...nodeVm(domain), definition: { format: 'libvirt-domain-xml', text } };
  }

  override async canonicalRef(sourceRef: string): Promise<string> {
    const uuid = uuidOf(sourceRef);
    await this.virsh.state(uuid).catch((error: unknown) => {
      throw asDomainError(error, uuid);
    });
    return uuid;
  }

  override takeSnapshot(): Promise<TakenSnapshot> {
    return Promise.reject(new DomainError('unavailable', 'snapshot_failed', 'This node discovers libvirt domains, and does not back them up yet.'));
  }

  override async confirmSnapshot(): Promise<void> {}

  override async verifySnapshot(): Promise<void> {}

  override async releaseSnapshot(): Promise<void> {}

  override async removeChangeIds(): Promise<void> {}

  /** A domain that goes away while we look is no reason to hide the others. */
  private async inspectOrNull(uuid: string): Promise<InspectedDomain | null> {
    try {
      return await inspectDomain(uuid, this.virsh, this.qemuImg);
    } catch (error) {
      if (error instanceof DomainError && error.code !== 'vm_not_found') throw error;
      return null;
    }
  }
}

/** @throws DomainError vm_not_found for what is no uuid */
function uuidOf(sourceRef: string): string {
  const uuid = sourceRef.toLowerCase();
  if (UUID.test(uuid)) return uuid;
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
