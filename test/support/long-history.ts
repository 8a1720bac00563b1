import { createHash } from 'node:crypto';
import type { BackupEvent } from '../../src/hub/backup/backups/model/backup.events.js';
import { backupStream } from '../../src/hub/backup/backups/model/backup.events.js';
import { type ChainEvent, chainStream } from '../../src/hub/backup/chains/model/chain.events.js';
import type { DomainEvent } from '../../src/kernel/event.js';
import { type NbdExportEvent, nbdExportStream } from '../../src/hub/exports/nbd-exports/model/nbd-export.events.js';
import { portDecider } from '../../src/hub/exports/nbd-ports/model/carry-over.decide.js';
import { type NbdPortEvent, nbdPortsStream } from '../../src/hub/exports/nbd-ports/model/nbd-port.events.js';
import { evolveNbdPorts, initialNbdPortsState, type NbdPortsState } from '../../src/hub/exports/nbd-ports/model/nbd-port.state.js';
import { derivedId } from '../../src/lib/clock/clock.js';
import type { EventStore, EventToAppend } from '../../src/hub/store/event-store/event-store.port.js';
import { type VmEvent, vmStream } from '../../src/hub/backup/vms/model/vm.events.js';
import { seeded } from './seeded.js';

export interface HistoryOptions {
  readonly seed: number;
  readonly hubId: string;
  readonly nodeId: string;
  readonly repositoryId: string;
  readonly vms: number;
  readonly firstPort: number;
  readonly portCount: number;
  /** Folder that holds a folder of each VM. Default: one that does not exist. */
  readonly imageRoot?: string;
}

interface Vm {
  readonly id: string;
  readonly name: string;
  readonly disks: number;
  chain: { readonly id: string; readonly points: string[]; readonly files: string[] } | null;
}

const CHAIN_LENGTH = 30;
const FAILED_SHARE = 0.02;
const BEGINNING = Date.parse('2025-01-01T00:00:00Z');
/** Between two backups of the hub. */
const STEP_MS = 60_000;
const IN_FLIGHT = 64;
const GIB = 2 ** 30;

const carryOver = portDecider((events: readonly NbdPortEvent[]) => events).decide;

/** The history that a hub would have written about backups of image VMs, round after round: the same for the same seed. Nothing of it exists outside the store. */
export class LongHistory {
  events = 0;
  backups = 0;
  private readonly random: () => number;
  private readonly vms: readonly Vm[];
  private ports: NbdPortsState = initialNbdPortsState;
  private nextPort = 0;

  constructor(
    private readonly store: EventStore,
    private readonly options: HistoryOptions,
  ) {
    this.random = seeded(options.seed);
    this.vms = Array.from({ length: options.vms }, (_, index) => ({
      id: this.id(`vm/${index}`),
      name: `vm-${String(index).padStart(4, '0')}`,
      disks: 1 + (index % 2),
      chain: null,
    }));
  }

  async registerVms(): Promise<void> {
    for (const vm of this.vms) {
      const registered: VmEvent = {
        type: 'VmRegistered',
        data: {
          vm_id: vm.id,
          name: vm.name,
          node_id: this.options.nodeId,
          source: 'image',
          source_ref: `${this.options.imageRoot ?? '/srv/images'}/${vm.name}`,
          disks: Array.from({ length: vm.disks }, (_, disk_id) => ({
            disk_id,
            disk_key: `disk${disk_id}.qcow2`,
            size_bytes: 40 * GIB,
            format: 'qcow2',
            change_tracking: true,
          })),
          registered_at: new Date(BEGINNING).toISOString(),
        },
      };
      await this.append(vmStream(vm.id), [registered], vm.id, 'api:token', BEGINNING);
    }
  }

  /** So many backups of every VM. */
  async backUp(rounds: number): Promise<void> {
    const running = new Set<Promise<void>>();
    for (let round = 0; round < rounds; round++) {
      for (const vm of this.vms) {
        const writing: Promise<void> = this.backUpOnce(vm).finally(() => running.delete(writing));
        running.add(writing);
        if (running.size >= IN_FLIGHT) await Promise.race(running);
      }
    }
    await Promise.all(running);
  }

  private async backUpOnce(vm: Vm): Promise<void> {
    const number = this.backups++;
    const backupId = this.id(`backup/${number}`);
    const begun = BEGINNING + number * STEP_MS;
    const at = (seconds: number): string => new Date(begun + seconds * 1000).toISOString();
    const { nodeId, repositoryId } = this.options;
    const failed = this.random() < FAILED_SHARE;
    const full = vm.chain === null || vm.chain.points.length >= CHAIN_LENGTH;
    const chain = full || vm.chain === null ? { id: this.id(`chain/${number}`), points: [], files: [] } : vm.chain;
    const parent = chain.points.at(-1) ?? null;
    const type = full ? 'full' : 'incremental';
    const folder = `${vm.name}/${at(1).replaceAll(/[-:]|\.\d+/g, '')}-${type}-${backupId.slice(0, 8)}`;
    const moved = Math.floor((full ? 20 : 1) * GIB * (0.5 + this.random()));
    const disks = Array.from({ length: vm.disks }, (_, disk_id) => ({
      disk_id,
      exportId: this.id(`export/${number}/${disk_id}`),
      exportName: `backup-${vm.name}-disk${disk_id}-${type}-${begun}`,
      port: this.options.firstPort + (this.nextPort++ % this.options.portCount),
      file: `disk-${disk_id}.qcow2`,
    }));

    const run: BackupEvent[] = [
      {
        type: 'BackupRequested',
        data: {
          backup_id: backupId,
          vm_id: vm.id,
          vm_name: vm.name,
          node_id: nodeId,
          repository_id: repositoryId,
          backup_type: 'auto',
          policy_id: null,
          requested_at: at(0),
        },
      },
      {
        type: 'BackupPlannedV2',
        data: {
          backup_type: type,
          full_reason: full ? (vm.chain === null ? 'first_backup' : 'chain_too_long') : null,
          full_reason_detail: null,
          chain_id: chain.id,
          parent_backup_id: parent,
          folder,
          disks: disks.map(({ disk_id, file }) => ({
            disk_id,
            disk_key: `disk${disk_id}.qcow2`,
            size_bytes: 40 * GIB,
            source_format: 'qcow2',
            file,
            parent_file: parent === null ? null : `${chain.files.at(-1) ?? ''}/${file}`,
            parent_change_id: parent === null ? null : `sendense-${parent}`,
          })),
          ports: disks.map(({ disk_id, exportName, port }) => ({ disk_id, nbd_port: port, export_name: exportName })),
          started_at: at(1),
        },
      },
      ...disks.map(({ disk_id, exportId, exportName, port, file }): BackupEvent => ({
        type: 'DiskTargetCreated',
        data: { disk_id, export_id: exportId, export_name: exportName, nbd_port: port, qcow2_path: `/srv/backups/${folder}.partial/${file}` },
      })),
      {
        type: 'TransferRequested',
        data: {
          node_id: nodeId,
          nbd_targets_string: disks.map(({ disk_id, port, exportName }) => `disk${disk_id}.qcow2:nbd://127.0.0.1:${port}/${exportName}`).join(','),
          requested_at: at(2),
        },
      },
      { type: 'SnapshotTaken', data: { instant: at(3), change_ids: disks.map(({ disk_id }) => ({ disk_id, change_id: `sendense-${backupId}` })) } },
      ...disks.flatMap(({ disk_id }): BackupEvent[] => [
        { type: 'DiskTransferStarted', data: { disk_id, total_bytes: moved } },
        ...[0.25, 0.5, 0.75].map((share): BackupEvent => ({
          type: 'DiskTransferProgressed',
          data: { disk_id, bytes_transferred: Math.floor(moved * share), total_bytes: moved },
        })),
        ...(failed ? [] : [{ type: 'DiskTransferCompleted' as const, data: { disk_id, bytes_transferred: moved } }]),
      ]),
      { type: 'SnapshotReleased', data: { released_at: at(40) } },
    ];
    const sealed: readonly BackupEvent[] = [
      {
        type: 'RestorePointSealed',
        data: {
          folder,
          files: disks.map(({ disk_id, file, exportId }) => ({
            disk_id,
            file,
            size_bytes: moved,
            sha256: createHash('sha256').update(exportId).digest('hex'),
            mtime_ns: `${begun}000000`,
          })),
          manifest_sha256: createHash('sha256').update(backupId).digest('hex'),
          sealed_at: at(42),
        },
      },
      { type: 'BackupCompleted', data: { completed_at: at(43) } },
      { type: 'ChangeTrackingSettled', data: { outcome: 'committed' } },
    ];
    const undone: readonly BackupEvent[] = [
      {
        type: 'BackupFailed',
        data: { stage: 'transfer', code: 'node_lost_job', detail: 'The node was restarted and knows nothing of the job any more.', failed_at: at(40) },
      },
      { type: 'ChangeTrackingSettled', data: { outcome: 'discarded' } },
      { type: 'BackupUndone', data: { undone_at: at(41) } },
    ];

    const actor = 'system:run-backup';
    const allocated: NbdPortEvent = {
      type: 'NbdPortsAllocated',
      data: { job_id: backupId, ports: disks.map(({ port, exportName }) => ({ port, export_name: exportName })), allocated_at: at(1) },
    };
    const released = disks.map(({ port }): NbdPortEvent => ({ type: 'NbdPortReleased', data: { job_id: backupId, port, released_at: at(41) } }));
    const writing = [this.appendPorts([allocated], backupId, begun + 1000)];
    writing.push(this.append(backupStream(backupId), [...run, ...(failed ? undone : sealed)], backupId, actor, begun));
    for (const { exportId, exportName, port, file } of disks) {
      const events: NbdExportEvent[] = [
        {
          type: 'NbdExportRequested',
          data: {
            export_id: exportId,
            job_id: backupId,
            export_name: exportName,
            port,
            file: `/srv/backups/${folder}.partial/${file}`,
            read_only: false,
            shared_limit: 10,
            requested_at: at(1),
          },
        },
        {
          type: 'NbdExportStarted',
          data: { pid: 1000 + (number % 30_000), process_start_ticks: String(number), boot_id: this.options.hubId, started_at: at(2) },
        },
        { type: 'NbdExportStopped', data: { signal: 'SIGTERM', stopped_at: at(41) } },
      ];
      writing.push(this.append(nbdExportStream(exportId), events, backupId, actor, begun + 1000));
    }
    if (!failed) {
      const extended: ChainEvent =
        parent === null
          ? { type: 'ChainStarted', data: { chain_id: chain.id, vm_id: vm.id, repository_id: repositoryId, backup_id: backupId } }
          : { type: 'ChainExtended', data: { backup_id: backupId, parent_backup_id: parent } };
      chain.points.push(backupId);
      chain.files.push(folder);
      vm.chain = chain;
      writing.push(this.append(chainStream(chain.id), [extended], backupId, actor, begun + 43_000));
    }
    writing.push(this.appendPorts(released, backupId, begun + 41_000));
    await Promise.all(writing);
  }

  /** As the hub's own deciders would, with the state carried over where that is due. */
  private appendPorts(events: readonly NbdPortEvent[], correlation: string, atMs: number): Promise<void> {
    const decided = carryOver(events, this.ports);
    this.ports = decided.reduce(evolveNbdPorts, this.ports);
    return this.append(nbdPortsStream(this.options.hubId), decided, correlation, 'system:run-backup', atMs);
  }

  private async append(stream: string, events: readonly DomainEvent[], correlation: string, actor: string, atMs: number): Promise<void> {
    const toAppend = events.map(({ type, data }, index): EventToAppend => {
      const number = this.events++;
      const metadata = {
        $correlationId: correlation,
        $causationId: this.id(`command/${number}`),
        actor,
        hub_id: this.options.hubId,
        schema_version: 1,
        time: new Date(atMs + index).toISOString(),
      };
      return { id: this.id(`event/${number}`), type, data, metadata };
    });
    await this.store.append(stream, 'any', toAppend);
  }

  private id(name: string): string {
    return derivedId(`history/${this.options.seed}/${name}`);
  }
}
