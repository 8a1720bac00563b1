import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { requirePoolFor } from '../../../exports/nbd-ports/model/nbd-port.commands.js';
import type { NodeVmDefinition } from '../../../../contract/vm-definition.js';
import type { NodeLeftOutDisk, NodeVm } from '../../../../contract/vm-list.js';
import { HubConfig } from '../../../hub.config.js';
import { NodeClient } from '../../../nodes/node-link/node-client.js';
import { ProvenFiles } from '../../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { type BackupTypeDecision, decideBackupType, type ParentFacts, type SourceDisk } from './backup-type.decide.js';
import type { BackupRequested } from './backup.events.js';
import { refuseOtherFormat } from './disk-formats.plan.js';
import { cannotFit, expectedBytes } from './expected-size.plan.js';
import { refuseRewriting } from './restore-points.reader.js';

type WantedBackup = Pick<BackupRequested['data'], 'repository_id' | 'backup_type' | 'backup_id'>;

/**
 * How long the node's answer to a request may be used for the plan, in milliseconds. The node detects later changes at the source when it fixes the instant.
 */
const LOOK_GOOD_MS = 1_000;
/** So many of the newest restore points of a VM show what the next one needs. */
const HISTORY = 30;

/** The current facts that a backup is based on, from the node, the repository and the chain. */
export interface BackupFacts {
  readonly vm_name: string;
  readonly disks: readonly SourceDisk[];
  /** The hypervisor's current definition of the VM; null if there is none. */
  readonly definition: NodeVmDefinition | null;
  readonly left_out_disks: readonly NodeLeftOutDisk[];
  readonly parent: ParentFacts;
  readonly decision: BackupTypeDecision;
}

/** The node's description of a VM, obtained for the request of a backup. */
interface Look {
  readonly found: NodeVm;
  readonly nodeUrl: string;
  readonly sourceRef: string;
  /** The parent that the backup would have had at that time. */
  readonly parentBackupId: string | null;
  readonly atMs: number;
}

/**
 * Inspects the actual state: the node's disks, the repository, the files of the chain. Changes nothing. The read models must include the caller's own writes.
 */
@Injectable()
export class BackupFactsReader {
  /** By backup. */
  private readonly looks = new Map<string, Look>();

  constructor(
    private readonly dataSource: DataSource,
    private readonly nodes: NodeClient,
    private readonly files: RepositoryFiles,
    private readonly proven: ProvenFiles,
    private readonly config: HubConfig,
  ) {}

  /**
   * Gathers the facts for a backup and chooses between full and incremental. A backup that is planned right after its request reuses the node's answer to the
   * request.
   * @throws DomainError: vm_not_found, repository_not_found, repository_unavailable, node_unreachable, node_silent, node_broken_answer, vm_not_found_at_node,
   * disk_in_use and other disk problems reported by the node, incremental_impossible,
   * restore_point_being_rewritten, repository_too_full
   */
  async gather({ vm_id, ...wanted }: WantedBackup & { readonly vm_id: string }): Promise<BackupFacts> {
    const vm = await this.dataSource.getRepository(VmReadModel).findOneBy({ vm_id });
    if (vm === null) throw new DomainError('not_found', 'vm_not_found', `There is no VM ${vm_id}.`, { vm_id });
    return this.gatherFor(vm, wanted);
  }

  /** As gather, for a VM whose row the caller has. */
  async gatherFor(vm: VmReadModel, { repository_id, backup_type, backup_id }: WantedBackup): Promise<BackupFacts> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id });
    if (repository === null) throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: vm.node_id });
    if (node === null)
      throw new DomainError('not_found', 'node_not_found', `The node ${vm.node_id} of VM "${vm.name}" is not registered.`, { node_id: vm.node_id });

    const parentNow = this.files.checkAvailable(repository.repository_id, repository.path).then(() => this.parentOf(vm.vm_id, repository));
    const look = this.takeLook(backup_id);
    const known = look !== null && look.nodeUrl === node.url && look.sourceRef === vm.source_ref && look.parentBackupId === parentIn(await parentNow);
    const [found, parent] = await Promise.all([known ? look.found : this.vmAtSource(node.url, vm), parentNow]);
    if (look === null) {
      const atMs = performance.now();
      this.looks.set(backup_id, { found, nodeUrl: node.url, sourceRef: vm.source_ref, parentBackupId: parentIn(parent), atMs });
    }
    const { disks } = found;
    refuseOtherFormat(vm.name, vm.disks, disks);
    requirePoolFor(disks.length, `VM "${vm.name}" with ${disks.length} disks`, { first: this.config.nbdPortFirst, count: this.config.nbdPortCount });
    const decision = decideBackupType({
      requested: backup_type,
      vm_name: vm.name,
      disks,
      parent,
      // The definition names a domain's disks. In a folder of images, a new name may just as well be an old disk that was copied or renamed.
      new_disks_join: vm.source === 'libvirt',
      max_chain_length: this.config.chainMaxLength,
    });
    await this.requireSpace(vm, repository, decision.backup_type);
    return {
      vm_name: vm.name,
      disks,
      definition: found.definition ?? null,
      left_out_disks: found.left_out_disks ?? [],
      parent,
      decision,
    };
  }

  /** @throws DomainError repository_too_full if earlier backups of the VM show that this one cannot fit */
  private async requireSpace({ vm_id, name }: VmReadModel, repository: RepositoryReadModel, type: 'full' | 'incremental'): Promise<void> {
    const { repository_id, path } = repository;
    const rows = await this.dataSource.getRepository(BackupReadModel).find({
      select: { backup_type: true, files: true, backup_id: true },
      where: { vm_id, repository_id, status: 'completed' },
      order: { created_position: 'DESC' },
      take: HISTORY,
    });
    const history = rows.flatMap(({ backup_type, files }) => {
      const bytes = (files ?? []).reduce((sum, { size_bytes }) => sum + size_bytes, 0);
      return backup_type === 'auto' ? [] : [{ backup_type, bytes }];
    });
    const expected_bytes = expectedBytes(type, history);
    if (expected_bytes === null) return;
    const free_bytes = await this.files.freeBytes(path);
    if (!cannotFit(expected_bytes, free_bytes)) return;
    throw new DomainError(
      'storage_full',
      'repository_too_full',
      `Repository "${repository.name}" has ${free_bytes} bytes free, and the ${type} backup of VM "${name}" is expected to need ${expected_bytes}, ` +
        'as its earlier ones did. Add space, or delete restore points.',
      { repository_id, vm_id, expected_bytes, free_bytes, backup_type: type },
    );
  }

  /** Takes the look of this backup, once, and drops all looks that are too old. */
  private takeLook(backupId: string): Look | null {
    for (const [id, { atMs }] of this.looks) if (performance.now() - atMs > LOOK_GOOD_MS) this.looks.delete(id);
    const look = this.looks.get(backupId) ?? null;
    this.looks.delete(backupId);
    return look;
  }

  private async vmAtSource(url: string, { name, source, source_ref }: VmReadModel): Promise<NodeVm> {
    const { vms } = await this.nodes.listVms(url, { source, source_ref });
    const found = vms.find((vm) => vm.source_ref === source_ref);
    if (found === undefined || found.disks.length === 0) {
      throw new DomainError('conflict', 'vm_not_found_at_node', `The node found no disks of VM "${name}" at ${source_ref}.`, { source_ref });
    }
    for (const { disk_key, problem } of found.disks) {
      if (problem !== null) throw new DomainError('conflict', problem.code, problem.detail, { disk_key });
    }
    return found;
  }

  /** The restore point that would be the parent of an incremental, and whether every file it depends on is still as it was sealed. */
  private async parentOf(vmId: string, repository: RepositoryReadModel): Promise<ParentFacts> {
    const chain = await this.dataSource
      .getRepository(ChainReadModel)
      .createQueryBuilder('chain')
      .where('chain.vm_id = :vmId and chain.repository_id = :repositoryId and chain.head_backup_id is not null', {
        vmId,
        repositoryId: repository.repository_id,
      })
      .orderBy('chain.started_position', 'DESC')
      .limit(1)
      .getOne();
    if (chain === null || chain.head_backup_id === null) return { kind: 'none' };
    refuseRewriting(chain);
    for (const { backup_id, damage } of chain.points) {
      if (damage !== null && isParentDamage(damage.code)) {
        return { kind: 'damaged', backup_id, chain_id: chain.chain_id, code: damage.code, detail: damage.detail, file: null };
      }
    }
    const rows = await this.dataSource.getRepository(BackupReadModel).findBy({ chain_id: chain.chain_id });
    const byId = new Map(rows.map((row) => [row.backup_id, row]));
    const proven = await this.proven.findAll(
      repository.path,
      rows.flatMap((row) => (row.files ?? []).map(({ file }) => join(row.folder ?? '', file))),
    );
    for (const { backup_id } of chain.points) {
      const row = byId.get(backup_id);
      for (const file of row?.files ?? []) {
        const path = join(row?.folder ?? '', file.file);
        const below = row?.disks.find(({ disk_id }) => disk_id === file.disk_id)?.parent_file ?? null;
        const verdict = await this.files.checkParent(repository.path, file, { file: path, below, proven: proven.get(path) ?? null });
        if (verdict.kind === 'damaged')
          return {
            kind: 'damaged',
            backup_id,
            chain_id: chain.chain_id,
            code: verdict.code,
            detail: verdict.detail,
            file: `${row?.folder ?? ''}/${file.file}`,
          };
      }
    }
    const head = byId.get(chain.head_backup_id);
    if (head === undefined || head.folder === null) {
      throw new Error(`chain ${chain.chain_id} has restore point ${chain.head_backup_id}, which is not among the backups`);
    }
    const { folder } = head;
    return {
      kind: 'sound',
      point: {
        backup_id: head.backup_id,
        chain_id: chain.chain_id,
        chain_length: chain.points.length,
        disks: head.disks.map((disk) => ({
          disk_key: disk.disk_key,
          size_bytes: disk.virtual_size_bytes,
          file: `${folder}/${disk.file}`,
          change_id: disk.change_id,
        })),
      },
    };
  }
}

function parentIn(parent: ParentFacts): string | null {
  return parent.kind === 'sound' ? parent.point.backup_id : null;
}

function isParentDamage(code: string): code is 'parent_missing' | 'parent_truncated' | 'parent_altered' {
  return code === 'parent_missing' || code === 'parent_truncated' || code === 'parent_altered';
}

/** A chain of which nothing but its newest restore point and its length is known. */
export interface ChainOutline {
  readonly backup_id: string;
  readonly chain_id: string;
  readonly length: number;
  readonly damaged: boolean;
}

const DISK = { disk_key: 'disk', size_bytes: 0 };
const TRACKED = { ...DISK, disk_id: 0, format: 'qcow2', change_ids: ['newest'], broken_change_ids: [] };

/** The type of a backup of a VM whose disks stay as they are; null: an incremental is requested and not possible. @param chain null: there is none */
export function typeOfNext(
  requested: BackupRequested['data']['backup_type'],
  chain: ChainOutline | null,
  change_tracking: boolean,
  max_chain_length: number,
): 'full' | 'incremental' | null {
  const disks = [{ ...TRACKED, change_tracking }];
  try {
    return decideBackupType({ requested, vm_name: '', disks, parent: outlined(chain), new_disks_join: false, max_chain_length }).backup_type;
  } catch (error) {
    if (error instanceof DomainError) return null;
    throw error;
  }
}

function outlined(chain: ChainOutline | null): ParentFacts {
  if (chain === null) return { kind: 'none' };
  const { backup_id, chain_id, length, damaged } = chain;
  if (damaged) return { kind: 'damaged', backup_id, chain_id, code: 'parent_altered', detail: '', file: null };
  return { kind: 'sound', point: { backup_id, chain_id, chain_length: length, disks: [{ ...DISK, file: '', change_id: 'newest' }] } };
}
