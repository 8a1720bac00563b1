import { join, normalize } from 'node:path';
import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { repositoryOf } from '../../../backup/backups/model/restore-points.reader.js';
import { backupStream } from '../../../backup/backups/model/backup.events.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { derivedId } from '../../../../lib/clock/clock.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { WrongShapeError } from '../../../../lib/json-shape/json-shape.js';
import { type RestoredDisk, restoredDomain, type RewrittenDefinition, uuidInDefinition } from '../../../../lib/libvirt/restored-domain.plan.js';
import { restoredFileName } from '../../../../lib/qemu/disk-copy.plan.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import type { WantedVm } from '../model/vm-restore.commands.js';

export interface VmRestorePreview extends RewrittenDefinition {
  readonly node_id: string;
  /** The node from which the definition came, according to the restore point. */
  readonly origin_node_id: string;
  readonly imported: boolean;
  /** Whether a start requires `accept_changes`. */
  readonly acceptance_needed: boolean;
}

/** Shows how a VM's definition would change, without creating anything. The node rewrites it again by the same rules. */
@Injectable()
export class PreviewVmRestore {
  constructor(
    private readonly store: EventStore,
    private readonly dataSource: DataSource,
    private readonly files: RepositoryFiles,
  ) {}

  /** @throws DomainError definition_missing, definition_broken, manifest_differs, repository_unavailable and as readManifest */
  async preview(backup: BackupReadModel, wanted: WantedVm): Promise<VmRestorePreview> {
    const repository = await repositoryOf(this.dataSource, backup);
    await this.files.checkPresent(repository.repository_id, repository.path);
    const { definition } = await this.files.readRecordedManifest(repository.path, backup.folder ?? '', backup.manifest_sha256);
    if (definition === null) {
      throw new DomainError(
        'conflict',
        'definition_missing',
        `Restore point ${backup.backup_id} has no VM definition; only backups from libvirt sources have one. Restore its disks with POST /restore/disks instead.`,
        { backup_id: backup.backup_id },
      );
    }
    const nodeId = wanted.nodeId ?? backup.node_id;
    const imported = await this.isImported(backup.backup_id);
    return {
      ...rewritten(backup, wanted, definition.text),
      node_id: nodeId,
      origin_node_id: backup.node_id,
      imported,
      acceptance_needed: imported || nodeId !== backup.node_id,
    };
  }

  /** The node recorded in an imported restore point cannot be trusted. */
  private async isImported(backupId: string): Promise<boolean> {
    for await (const first of this.store.read(backupStream(backupId), { limit: 1 })) return first.type === 'RestorePointImported';
    return false;
  }
}

/** A VM whose definition comes from another node or an import is started only after its changes were accepted. @throws DomainError changes_not_accepted */
export function refuseUnaccepted({ acceptance_needed, imported, changes, node_id }: VmRestorePreview, wanted: WantedVm): void {
  if (!wanted.start || wanted.acceptChanges || !acceptance_needed) return;
  const why = imported ? 'its restore point was imported' : 'its definition comes from another node';
  throw new DomainError(
    'conflict',
    'changes_not_accepted',
    `The VM is not started on node ${node_id} without a review, because ${why}. Review the changes to its definition (\`changes\`, or POST /restore/vms/preview), then repeat the request with accept_changes, or without start.`,
    { changes: changes.map(({ code, detail }) => ({ code, detail })) },
  );
}

function rewritten(backup: BackupReadModel, wanted: WantedVm, definition: string): RewrittenDefinition {
  try {
    const uuid = wanted.keepIdentity ? uuidInDefinition(definition) : derivedId(`restored-vm-preview/${backup.backup_id}/${wanted.name}`);
    if (uuid === null) throw new WrongShapeError('it has no uuid to keep');
    const { storagePath } = wanted;
    const places = backup.disks.map(({ disk_id, disk_key }): [string, RestoredDisk] => [
      disk_key,
      storagePath === null
        ? { kind: 'nbd', socket: `/socket-of-disk-${disk_id}`, exportName: `disk-${disk_id}` }
        : { kind: 'file', path: join(normalize(storagePath), restoredFileName(wanted.name, disk_id, 'qcow2')) },
    ]);
    const { name, keepIdentity, network, libvirtNetwork } = wanted;
    return restoredDomain(definition, { name, uuid, keepIdentity, jobId: 'preview', disks: new Map(places), network, libvirtNetwork });
  } catch (error) {
    if (error instanceof WrongShapeError) throw new DomainError('conflict', 'definition_broken', `The definition of the VM cannot be used: ${error.message}.`);
    throw error;
  }
}
