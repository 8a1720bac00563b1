import { mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { DomainError } from '../../../kernel/domain-error.js';
import { Clock } from '../../../lib/clock/clock.js';
import { NodeConfig } from '../../node.config.js';
import type { NodeDisk, NodeVm } from '../../../contract/vm-list.js';
import { QemuImg } from '../../../lib/qemu/qemu-img.js';
import type { SnapshotDisk, StandingSnapshot } from '../../model/job.state.js';
import type { DiskPlace } from '../disk-chain/disk-chain.js';
import { allOrFirstError, failure, ImageServers, isSound } from '../image-servers.js';
import { type JobDisk, withDisks, witnessOf } from '../job-chains.js';
import { type SnapshotRequest, Source, type SweepReport, type TakenSnapshot } from '../source.port.js';
import { diskChangeId } from './disk-change-id.js';
import { type ImageDisk, inspectDisks, inUse, resolveVmFolder } from './image-files.js';
import { formatOfName } from './image-layout.plan.js';
import { ImageRootGate } from './image-root.gate.js';
import { ImageRules } from './image-rules.js';
import { findWriters } from './open-writers.js';
import { realPaths } from './real-paths.js';
import { makeSocketDirectory } from '../../../lib/process/socket-place.js';

const VMS_AT_ONCE = 4;
/** The node has usually listed the VM for the hub this recently when it takes the snapshot. */
const RECENT_LOOK_MS = 5_000;

interface PlannedDisk extends JobDisk {
  readonly sizeBytes: number;
  /** null: a full backup. */
  readonly parentChangeId: string | null;
  /** See fileIdentity. */
  readonly identity: string | null;
}

/**
 * Powered-off VMs, each a folder of image files. A qemu-nbd that has a QCOW2 image open, even read-only, keeps every qemu from opening it for writing. Once all
 * disks are open, none can change; that moment is the instant. Raw images have no such lock: their files are compared at the end instead.
 */
@Injectable()
export class ImageSource extends Source {
  override readonly kind = 'image';
  private readonly gate = new ImageRootGate();

  constructor(
    private readonly config: NodeConfig,
    private readonly clock: Clock,
    private readonly qemuImg: QemuImg,
    private readonly servers: ImageServers,
  ) {
    super();
  }

  override async discover(): Promise<readonly NodeVm[]> {
    const folders = (await Promise.all((await realPaths(this.config.imageRoots)).map((root) => this.foldersOrNone(root)))).flat();
    const vms = await pLimit(VMS_AT_ONCE).map(folders, (folder) => this.describeOrNull(folder));
    return vms.filter((vm) => vm !== null && vm.disks.length > 0).filter((vm) => vm !== null);
  }

  override async describe(sourceRef: string): Promise<NodeVm> {
    const disks = await this.inspect(sourceRef, 'try');
    return { name: basename(sourceRef), source: 'image', source_ref: sourceRef, disks: disks.map((disk, index) => nodeDisk(disk, index)) };
  }

  override canonicalRef(sourceRef: string): Promise<string> {
    return this.gate.use(dirname(sourceRef), () => resolveVmFolder(sourceRef, this.config.imageRoots));
  }

  override async takeSnapshot(request: SnapshotRequest): Promise<TakenSnapshot> {
    // Each disk gets a bitmap and is opened by a server, neither of which is possible while a qemu has it open for writing. A recent look for other writers
    // suffices here: they are searched for again once all servers have opened their disks.
    const rules = await this.rulesOf(request.sourceRef);
    const planned = checkedDisks(await this.inspect(request.sourceRef, 'left', RECENT_LOOK_MS), request).map((disk) => ({ ...disk, rules }));
    await mkdir(request.directory, { recursive: true, mode: 0o700 });
    const sockets = await makeSocketDirectory(request.directory);
    return withDisks(planned, async (held) => {
      await allOrFirstError(held.map(({ key, chain }) => this.servers.record(key, chain, diskChangeId(request.changeId, key))));
      // Taken before the servers open the disks, so that a write in between is detected.
      const witnesses = await Promise.all(held.map(({ chain }) => chain.witness()));
      const opened = await allOrFirstError(held.map((disk, index) => this.servers.serve(disk, index, request.directory, sockets)));
      const instant = this.clock.iso();
      await this.refuseWriters(planned);
      const disks = opened.map(({ served }, index): SnapshotDisk => {
        const tracking = held[index]?.chain.top.tracking === true;
        return { ...served, change_id: tracking ? diskChangeId(request.changeId, served.disk_key) : null, witness: witnesses[index] ?? '' };
      });
      return { standing: { instant, disks }, extents: new Map(opened.map((one) => [one.served.disk_key, one.extents])) };
    });
  }

  override async confirmSnapshot(directory: string, snapshot: StandingSnapshot): Promise<void> {
    await this.servers.confirm(directory, snapshot);
  }

  override async verifySnapshot(sourceRef: string, snapshot: StandingSnapshot): Promise<void> {
    const folder = await resolveVmFolder(sourceRef, this.config.imageRoots);
    const rules = new ImageRules(folder, this.config.imageTemplates);
    for (const { disk_key: key, ...disk } of snapshot.disks) {
      const path = join(folder, key);
      const now = await witnessOf({ key, place: { path, realPath: path }, format: formatOfName(key) ?? 'raw', rules }).catch(() => 'gone');
      if (now !== disk.witness) {
        throw failure('conflict', 'source_changed', key, `Disk "${key}" was changed while it was being copied. Keep the VM powered off during the backup.`);
      }
    }
  }

  override async releaseSnapshot(directory: string): Promise<void> {
    await this.servers.release(directory);
  }

  override async changeIds(): Promise<readonly { readonly source_ref: string; readonly name: string; readonly change_ids: readonly string[] }[]> {
    return (await this.discover()).map(({ source_ref, name, disks }) => {
      return { source_ref, name, change_ids: [...new Set(disks.flatMap((disk) => [...disk.change_ids, ...disk.broken_change_ids]))] };
    });
  }

  /** A snapshot consists of its directory and of processes that end with it. */
  override sweep(): Promise<SweepReport> {
    return Promise.resolve({ removed: [], problems: [] });
  }

  override async removeChangeIds(sourceRef: string, isUnneeded: (changeId: string) => boolean): Promise<readonly string[]> {
    let disks: readonly ImageDisk[];
    try {
      disks = await this.inspect(sourceRef, 'left');
    } catch (error) {
      if (isErrno(error, 'ENOENT') || (error instanceof DomainError && error.code === 'vm_not_found')) return [];
      throw error;
    }
    const removed = new Set<string>();
    const rules = await this.rulesOf(sourceRef);
    for (const disk of disks) {
      const orphans = disk.bitmaps.map((bitmap) => bitmap.name).filter(isUnneeded);
      if (orphans.length === 0) continue;
      if (disk.problem?.code === 'disk_in_use') throw failure('conflict', 'disk_in_use', disk.key, disk.problem.detail);
      await withDisks([{ key: disk.key, place: placeOf(disk), format: disk.format, rules }], async (held) => {
        for (const { chain } of held) {
          for (const name of orphans) {
            await this.servers.forget(disk.key, chain, name);
            removed.add(name);
          }
        }
      });
    }
    return [...removed];
  }

  private inspect(sourceRef: string, lock: Parameters<typeof inspectDisks>[3], lookMaxAgeMs = 0): Promise<readonly ImageDisk[]> {
    const { imageRoots, imageTemplates } = this.config;
    return this.gate.use(dirname(sourceRef), async () =>
      inspectDisks(await resolveVmFolder(sourceRef, imageRoots), imageTemplates, this.qemuImg, lock, lookMaxAgeMs),
    );
  }

  private async rulesOf(sourceRef: string): Promise<ImageRules> {
    return new ImageRules(await resolveVmFolder(sourceRef, this.config.imageRoots), this.config.imageTemplates);
  }

  /** VMs of other roots must still be found. */
  private async foldersOrNone(root: string): Promise<readonly string[]> {
    try {
      return await this.gate.use(root, () => foldersIn(root));
    } catch (error) {
      if (error instanceof DomainError && error.code === 'image_root_silent') return [];
      throw error;
    }
  }

  /** A folder that vanishes in the meantime or cannot be read must not hide the others. */
  private async describeOrNull(folder: string): Promise<NodeVm | null> {
    try {
      return await this.describe(folder);
    } catch (error) {
      if (error instanceof DomainError && error.code === 'tool_missing') throw error;
      return null;
    }
  }

  private async refuseWriters(disks: readonly Pick<PlannedDisk, 'key' | 'identity'>[]): Promise<void> {
    const writers = await findWriters(new Set(disks.flatMap((disk) => (disk.identity === null ? [] : [disk.identity]))));
    for (const disk of disks) {
      const writer = disk.identity === null ? undefined : writers.get(disk.identity);
      if (writer !== undefined) throw failure('conflict', 'disk_in_use', disk.key, inUse(disk.key, `${writer} has it open for writing`).detail);
    }
  }
}

/** @throws DomainError for the first disk that differs from the hub's expectation */
function checkedDisks(disks: readonly ImageDisk[], request: SnapshotRequest): readonly Omit<PlannedDisk, 'rules'>[] {
  const added = disks.find((disk) => !request.disks.some((one) => one.diskKey === disk.key));
  if (added !== undefined) throw failure('conflict', 'disk_added', added.key, `The VM has a new disk "${added.key}" that the backup does not include.`);
  return request.disks.map((expected) => {
    const disk = disks.find((one) => one.key === expected.diskKey);
    if (disk === undefined) throw failure('conflict', 'disk_removed', expected.diskKey, `The VM no longer has the disk "${expected.diskKey}".`);
    if (disk.problem !== null) throw failure('conflict', disk.problem.code, disk.key, disk.problem.detail);
    if (disk.sizeBytes !== expected.sizeBytes) {
      throw failure(
        'conflict',
        'disk_resized',
        disk.key,
        `Disk "${disk.key}" has ${disk.sizeBytes} bytes, but the backup was prepared for ${expected.sizeBytes}.`,
      );
    }
    const { parentChangeId } = expected;
    if (parentChangeId !== null && !disk.bitmaps.some((bitmap) => bitmap.name === parentChangeId && isSound(bitmap))) {
      throw failure('conflict', 'change_id_lost', disk.key, `Disk "${disk.key}" has no usable record of changes since the last backup (${parentChangeId}).`);
    }
    const { key, format, sizeBytes, identity } = disk;
    return { key, place: placeOf(disk), format, sizeBytes, parentChangeId, identity };
  });
}

function placeOf({ path }: ImageDisk): DiskPlace {
  return { path, realPath: path };
}

function nodeDisk(disk: ImageDisk, index: number): NodeDisk {
  return {
    disk_id: index,
    disk_key: disk.key,
    size_bytes: disk.sizeBytes,
    format: disk.format,
    path: disk.path,
    change_tracking: disk.tracking,
    change_ids: disk.bitmaps.filter(isSound).map((bitmap) => bitmap.name),
    broken_change_ids: disk.bitmaps.filter((bitmap) => !isSound(bitmap)).map((bitmap) => bitmap.name),
    problem: disk.problem,
  };
}

async function foldersIn(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { withFileTypes: true });
  return entries
    .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
    .map((entry) => join(root, entry.name))
    .sort();
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
