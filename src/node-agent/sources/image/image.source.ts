import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { DomainError, type ErrorKind } from '../../../kernel/domain-error.js';
import { Clock } from '../../../platform/clock/clock.js';
import { NodeConfig } from '../../../platform/config/node.config.js';
import { NbdInfo } from '../../../platform/nbd/nbd-info.js';
import { nbdUri } from '../../../platform/nbd/nbd-uri.js';
import { sourceServerArgv } from '../../../platform/nbd/qemu-nbd.plan.js';
import type { NodeDisk, NodeVm } from '../../../platform/node-api/node-api.js';
import { ProcessSupervisor } from '../../../platform/process/process-supervisor.port.js';
import { ToolError } from '../../../platform/process/tool-error.js';
import { QemuImg } from '../../../platform/qemu/qemu-img.js';
import { type Extent, mergeExtents } from '../../model/extents.plan.js';
import type { Failure, SnapshotDisk, StandingSnapshot } from '../../model/job.state.js';
import { Slots } from '../../transfers/slots.js';
import { type SnapshotRequest, Source, type TakenSnapshot } from '../source.port.js';
import { type ImageDisk, inspectDisks, inUse, isLockError, isLockMessage, realPaths, resolveVmFolder, toolMissing } from './image-files.js';
import { fileIdentity, findWriters } from './open-writers.js';
import { makeSocketDirectory, removeSocketDirectory } from './socket-place.js';

const BITMAP_GRANULARITY_BYTES = 65_536;
/** An image with many or large bitmaps takes its time to open. */
const SERVER_START_MS = 60_000;
const SOCKET_POLL_MS = 3;
/** A server that could not open its image is given so long to be gone, so that its own words can be told. */
const SERVER_END_MS = 2_000;
const STOP_GRACE_MS = 5_000;
const VMS_AT_ONCE = 4;

interface PlannedDisk {
  readonly disk: ImageDisk;
  readonly realPath: string;
  readonly parentChangeId: string | null;
}

/**
 * Powered-off VMs: a folder of image files each. A qemu-nbd that has a QCOW2 image open, even read-only, keeps every qemu from opening it for writing; so from the
 * moment when all disks are open none can change, and that is the instant. Raw images have no such lock: their files are compared in the end instead.
 */
@Injectable()
export class ImageSource extends Source {
  override readonly kind = 'image';

  constructor(
    private readonly config: NodeConfig,
    private readonly clock: Clock,
    private readonly qemuImg: QemuImg,
    private readonly nbdInfo: NbdInfo,
    private readonly supervisor: ProcessSupervisor,
  ) {
    super();
  }

  override async discover(): Promise<readonly NodeVm[]> {
    const slots = new Slots(VMS_AT_ONCE);
    const folders = (await Promise.all((await realPaths(this.config.imageRoots)).map(foldersIn))).flat();
    const vms = await Promise.all(folders.map((folder) => slots.use(() => this.describeOrNull(folder))));
    return vms.filter((vm) => vm !== null && vm.disks.length > 0).filter((vm) => vm !== null);
  }

  override async describe(sourceRef: string): Promise<NodeVm> {
    const folder = await resolveVmFolder(sourceRef, this.config.imageRoots);
    const disks = await inspectDisks(folder, this.config.imageRoots, this.qemuImg);
    return { name: basename(sourceRef), source: 'image', source_ref: sourceRef, disks: disks.map((disk, index) => nodeDisk(disk, index)) };
  }

  override canonicalRef(sourceRef: string): Promise<string> {
    return resolveVmFolder(sourceRef, this.config.imageRoots);
  }

  override async takeSnapshot(request: SnapshotRequest): Promise<TakenSnapshot> {
    const folder = await resolveVmFolder(request.sourceRef, this.config.imageRoots);
    const planned = checkedDisks(await inspectDisks(folder, this.config.imageRoots, this.qemuImg), request);
    await mkdir(request.directory, { recursive: true, mode: 0o700 });
    const sockets = await makeSocketDirectory(request.directory);
    await allOrFirstError(planned.map((one) => this.record(one.disk, request.changeId)));
    // Before the disks are opened: a write that slips in between is then seen as one.
    const witnesses = await Promise.all(planned.map((one) => witnessOf(one.realPath)));
    const opened = await allOrFirstError(planned.map((one, index) => this.serve(one, index, request.directory, sockets)));
    const instant = this.clock.iso();
    await this.refuseWriters(planned.map((one) => one.disk));
    const disks = opened.map((one, index): SnapshotDisk => {
      const tracking = planned[index]?.disk.tracking === true;
      return { ...one.served, change_id: tracking ? request.changeId : null, witness: witnesses[index] ?? '' };
    });
    return { standing: { instant, disks }, extents: new Map(opened.map((one) => [one.served.disk_key, one.extents])) };
  }

  override async confirmSnapshot(directory: string, snapshot: StandingSnapshot): Promise<void> {
    for (const [index, disk] of snapshot.disks.entries()) {
      const status = await this.supervisor.status(serverDirectory(directory, index));
      if (status.state === 'running') continue;
      const why = status.state === 'exited' && status.stderr !== '' ? `: ${status.stderr.trim()}` : '.';
      throw failure(
        'conflict',
        'snapshot_lost',
        disk.disk_key,
        `The server that holds disk "${disk.disk_key}" as it was at ${snapshot.instant} has ended${why}`,
      );
    }
  }

  override async verifySnapshot(sourceRef: string, snapshot: StandingSnapshot): Promise<void> {
    const folder = await resolveVmFolder(sourceRef, this.config.imageRoots);
    for (const disk of snapshot.disks) {
      const now = await witnessOf(join(folder, disk.disk_key)).catch(() => 'gone');
      if (now !== disk.witness) {
        throw failure(
          'conflict',
          'source_changed',
          disk.disk_key,
          `Disk "${disk.disk_key}" was changed while it was copied. Keep the VM powered off during the backup.`,
        );
      }
    }
  }

  override async releaseSnapshot(directory: string): Promise<void> {
    const servers = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    });
    await Promise.all(
      servers
        .filter((entry) => entry.isDirectory())
        .map(async (entry) => {
          await this.supervisor.stop(join(directory, entry.name), STOP_GRACE_MS);
        }),
    );
    await removeSocketDirectory(directory);
    await rm(directory, { recursive: true, force: true });
  }

  override async removeChangeIds(sourceRef: string, prefix: string, keep: readonly string[]): Promise<void> {
    let disks: readonly ImageDisk[];
    try {
      disks = await inspectDisks(await resolveVmFolder(sourceRef, this.config.imageRoots), this.config.imageRoots, this.qemuImg);
    } catch (error) {
      if (isErrno(error, 'ENOENT') || (error instanceof DomainError && error.code === 'vm_not_found')) return;
      throw error;
    }
    for (const disk of disks) {
      const orphans = disk.bitmaps.map((bitmap) => bitmap.name).filter((name) => name.startsWith(prefix) && !keep.includes(name));
      if (orphans.length === 0) continue;
      if (disk.problem?.code === 'disk_in_use') throw failure('conflict', 'disk_in_use', disk.key, disk.problem.detail);
      for (const name of orphans) {
        try {
          await this.qemuImg.removeBitmap(disk.realPath ?? disk.path, name);
        } catch (error) {
          throw asFailure(error, disk.key, 'change_id_not_removed');
        }
      }
    }
  }

  /** A folder that goes away while we look, or that cannot be read, is no reason to hide the others. */
  private async describeOrNull(folder: string): Promise<NodeVm | null> {
    try {
      return await this.describe(folder);
    } catch (error) {
      if (error instanceof DomainError && error.code === 'tool_missing') throw error;
      return null;
    }
  }

  private async record(disk: ImageDisk, changeId: string): Promise<void> {
    if (!disk.tracking) return;
    const path = disk.realPath ?? disk.path;
    try {
      const existing = disk.bitmaps.find((bitmap) => bitmap.name === changeId);
      // One from an earlier try of this job has recorded since before this instant: too much, never too little. A broken one has not.
      if (existing !== undefined && isValid(existing)) return;
      if (existing !== undefined) await this.qemuImg.removeBitmap(path, changeId);
      await this.qemuImg.addBitmap(path, changeId, BITMAP_GRANULARITY_BYTES);
    } catch (error) {
      throw asFailure(error, disk.key, 'snapshot_failed');
    }
  }

  private async serve(
    { disk, realPath, parentChangeId }: PlannedDisk,
    index: number,
    directory: string,
    sockets: string,
  ): Promise<{ readonly served: Omit<SnapshotDisk, 'change_id' | 'witness'>; readonly extents: readonly Extent[] }> {
    const socket = join(sockets, `disk-${index}.sock`);
    const runDirectory = serverDirectory(directory, index);
    const uri = nbdUri({ socket }, '');
    try {
      // Each copy has its connections, and asking for the extents takes one more.
      const sharedLimit = this.config.nbdcopyConnections + 4;
      await this.supervisor.start(runDirectory, sourceServerArgv({ file: realPath, format: disk.format, socket, sharedLimit, bitmap: parentChangeId }));
      await this.awaitSocket(runDirectory, socket, disk.key);
      // The answer is also the handshake that proves that the image is open: qemu-nbd listens before it opens it.
      const extents = parentChangeId === null ? await this.nbdInfo.allocatedExtents(uri) : await this.nbdInfo.dirtyExtents(uri, parentChangeId);
      return { served: { disk_key: disk.key, uri, size_bytes: disk.sizeBytes }, extents: mergeExtents(extents) };
    } catch (error) {
      throw (await this.serverFailure(runDirectory, disk.key, error)) ?? asFailure(error, disk.key, 'snapshot_failed');
    }
  }

  private async awaitSocket(runDirectory: string, socket: string, key: string): Promise<void> {
    const deadline = performance.now() + SERVER_START_MS;
    while (!(await accepts(socket))) {
      if ((await this.supervisor.status(runDirectory)).state !== 'running')
        throw failure('unavailable', 'snapshot_failed', key, `The server of disk "${key}" ended at once.`);
      if (performance.now() > deadline)
        throw failure('unavailable', 'snapshot_failed', key, `The server of disk "${key}" did not listen within ${SERVER_START_MS} ms.`);
      await pause(SOCKET_POLL_MS);
    }
  }

  /** What the server itself said before it ended; null when it still runs and so is not the cause. */
  private async serverFailure(runDirectory: string, key: string, error: unknown): Promise<DomainError | null> {
    if (error instanceof ToolError && error.code === 'tool_missing') return toolMissing(error);
    try {
      const ended = await this.supervisor.waitForExit(runDirectory, AbortSignal.timeout(SERVER_END_MS));
      if (ended.exitCode === 127) {
        return new DomainError('unavailable', 'tool_missing', 'qemu-nbd is not installed on the node, or not in its PATH. Install it and try again.', {
          tool: 'qemu-nbd',
        });
      }
      if (isLockMessage(ended.stderr)) return failure('conflict', 'disk_in_use', key, inUse(key, 'another program has opened it').detail);
      return failure(
        'unavailable',
        'snapshot_failed',
        key,
        `qemu-nbd could not serve disk "${key}" (exit code ${ended.exitCode ?? 'unknown'}): ${ended.stderr.trim()}`,
      );
    } catch {
      return null;
    }
  }

  private async refuseWriters(disks: readonly ImageDisk[]): Promise<void> {
    const writers = await findWriters(new Set(disks.flatMap((disk) => (disk.identity === null ? [] : [disk.identity]))));
    for (const disk of disks) {
      const writer = disk.identity === null ? undefined : writers.get(disk.identity);
      if (writer !== undefined) throw failure('conflict', 'disk_in_use', disk.key, inUse(disk.key, `${writer} has it open for writing`).detail);
    }
  }
}

/** @throws DomainError for the first disk that is not as the hub expects it */
function checkedDisks(disks: readonly ImageDisk[], request: SnapshotRequest): readonly PlannedDisk[] {
  const added = disks.find((disk) => !request.disks.some((one) => one.diskKey === disk.key));
  if (added !== undefined) throw failure('conflict', 'disk_added', added.key, `The VM has a new disk "${added.key}" that the backup does not know.`);
  return request.disks.map((expected) => {
    const disk = disks.find((one) => one.key === expected.diskKey);
    if (disk === undefined) throw failure('conflict', 'disk_removed', expected.diskKey, `The VM has no disk "${expected.diskKey}" any more.`);
    if (disk.problem !== null) throw failure('conflict', disk.problem.code, disk.key, disk.problem.detail);
    if (disk.sizeBytes !== expected.sizeBytes) {
      throw failure(
        'conflict',
        'disk_resized',
        disk.key,
        `Disk "${disk.key}" has ${disk.sizeBytes} bytes, and the backup was prepared for ${expected.sizeBytes}.`,
      );
    }
    const { parentChangeId } = expected;
    if (parentChangeId !== null && !disk.bitmaps.some((bitmap) => bitmap.name === parentChangeId && isValid(bitmap))) {
      throw failure('conflict', 'change_id_lost', disk.key, `Disk "${disk.key}" has no usable record of changes since the last backup (${parentChangeId}).`);
    }
    return { disk, realPath: disk.realPath ?? disk.path, parentChangeId };
  });
}

function nodeDisk(disk: ImageDisk, index: number): NodeDisk {
  return {
    disk_id: index,
    disk_key: disk.key,
    size_bytes: disk.sizeBytes,
    format: disk.format,
    path: disk.path,
    change_tracking: disk.tracking,
    change_ids: disk.bitmaps.filter(isValid).map((bitmap) => bitmap.name),
    broken_change_ids: disk.bitmaps.filter((bitmap) => !isValid(bitmap)).map((bitmap) => bitmap.name),
    problem: disk.problem,
  };
}

/** `auto`: it records every write; `in-use`: an image that was not closed cleanly has left it behind. */
function isValid(bitmap: ImageDisk['bitmaps'][number]): boolean {
  return bitmap.flags.includes('auto') && !bitmap.flags.includes('in-use');
}

/** Changes with every write to the file, and when another file takes its place. Reading leaves it alone. */
async function witnessOf(path: string): Promise<string> {
  const stats = await stat(path, { bigint: true });
  return `${fileIdentity(stats)}:${stats.size}:${stats.mtimeNs}`;
}

async function foldersIn(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { withFileTypes: true });
  return entries
    .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
    .map((entry) => join(root, entry.name))
    .sort();
}

function serverDirectory(directory: string, index: number): string {
  return join(directory, `disk-${index}`);
}

/** Its name alone is not enough: between bind and listen a socket exists, and refuses. */
function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}

/** Everything has ended before the error is told, so that whoever cleans up finds nothing that still begins. */
async function allOrFirstError<Result>(work: readonly Promise<Result>[]): Promise<Result[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

function failure(kind: ErrorKind, code: Failure['code'], key: string, detail: string): DomainError {
  return new DomainError(kind, code, detail, { disk_key: key });
}

function asFailure(error: unknown, key: string, code: string): DomainError {
  if (error instanceof DomainError) return error;
  if (error instanceof ToolError && error.code === 'tool_missing') return toolMissing(error);
  if (isLockError(error)) return failure('conflict', 'disk_in_use', key, inUse(key, 'another program has it open').detail);
  return failure('unavailable', code, key, `Disk "${key}": ${error instanceof Error ? error.message : String(error)}`);
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
