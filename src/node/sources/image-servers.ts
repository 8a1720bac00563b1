import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { DomainError, type ErrorKind } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import { NbdInfo } from '../../lib/nbd/nbd-info.js';
import { nbdUri } from '../../lib/nbd/nbd-uri.js';
import { sourceServerArgv } from '../../lib/nbd/qemu-nbd.plan.js';
import { ProcessSupervisor } from '../../lib/process/process-supervisor.port.js';
import { FIRST_INHERITED } from './inherited-files.js';
import { foldersIn } from '../../lib/files/if-there.js';
import { ToolError } from '../../lib/process/tool-error.js';
import type { ImageGraph } from '../../lib/qemu/image-graph.plan.js';
import { QemuImg } from '../../lib/qemu/qemu-img.js';
import type { ImageBitmap } from '../../lib/qemu/qemu-img-output.js';
import { type Extent, mergeExtents } from '../model/extents.plan.js';
import type { Failure, SnapshotDisk, StandingSnapshot } from '../model/job.state.js';
import type { DiskChain } from './disk-chain/disk-chain.js';
import { unexpectedFiles } from './disk-chain/opened-files.js';
import { inUse, isLockError, isLockMessage, toolMissing } from './image/image-files.js';
import { removeSocketDirectory } from '../../lib/process/socket-place.js';

const BITMAP_GRANULARITY_BYTES = 65_536;
/** Opening an image with many or large bitmaps takes time. */
const SERVER_START_MS = 60_000;
const SOCKET_POLL_MS = 3;
/** How long to wait for a server that could not open its image to exit, so that its own message can be reported. */
const SERVER_END_MS = 2_000;
const STOP_GRACE_MS = 5_000;
/** The maximum number of connections per copy, plus a few for extent queries. A client beyond the limit waits forever. */
const SHARED_LIMIT = 20;

/** A disk of a powered-off VM, ready to be served. */
export interface ServedDisk {
  readonly key: string;
  /** Held open until the server has opened it. */
  readonly chain: DiskChain;
  readonly sizeBytes: number;
  /** null: a full backup. */
  readonly parentChangeId: string | null;
}

/**
 * Serves the disk files of powered-off VMs for reading. A qemu-nbd that has a QCOW2 image open, even read-only, keeps every qemu from opening it for writing.
 * Once all disks are open, none can change; that moment is the instant.
 */
@Injectable()
export class ImageServers {
  constructor(
    private readonly qemuImg: QemuImg,
    private readonly nbdInfo: NbdInfo,
    private readonly supervisor: ProcessSupervisor,
  ) {}

  /** Makes a disk record all further writes under this name, if it can. */
  async record(key: string, chain: DiskChain, changeId: string): Promise<void> {
    if (!chain.top.tracking) return;
    try {
      const existing = chain.top.info?.bitmaps.find((bitmap) => bitmap.name === changeId);
      // A bitmap of an earlier attempt of this job has recorded since before this instant, so it contains too much, never too little. A broken one does not.
      if (existing !== undefined && isSound(existing)) return;
      if (existing !== undefined) await this.qemuImg.removeBitmap(chain.topGraph(), changeId, chain.descriptors);
      await this.qemuImg.addBitmap(chain.topGraph(), changeId, BITMAP_GRANULARITY_BYTES, chain.descriptors);
    } catch (error) {
      throw asFailure(error, key, 'snapshot_failed');
    }
  }

  /** Removes a bitmap from the disk's file. @throws DomainError disk_in_use, change_id_not_removed */
  async forget(key: string, chain: DiskChain, changeId: string): Promise<void> {
    try {
      await this.qemuImg.removeBitmap(chain.topGraph(), changeId, chain.descriptors);
    } catch (error) {
      throw asFailure(error, key, 'change_id_not_removed');
    }
  }

  /** @throws DomainError snapshot_failed, disk_in_use, source_changed, tool_missing */
  async serve(
    disk: ServedDisk,
    index: number,
    directory: string,
    sockets: string,
  ): Promise<{ readonly served: Omit<SnapshotDisk, 'change_id' | 'witness'>; readonly extents: readonly Extent[] }> {
    const socket = join(sockets, `disk-${index}.sock`);
    const runDirectory = serverDirectory(directory, index);
    const uri = nbdUri({ socket }, '');
    try {
      await this.supervisor.start(
        runDirectory,
        sourceServerArgv({ image: disk.chain.graph(), socket, sharedLimit: SHARED_LIMIT, bitmap: disk.parentChangeId }),
        // The server opens the inherited file once more.
        { background: true, inherited: disk.chain.descriptors, rights: 'files' },
      );
      await this.awaitSocket(runDirectory, socket, disk.key);
      // The answer also proves that the image is open: qemu-nbd listens before it opens it.
      const extents = disk.parentChangeId === null ? await this.nbdInfo.allocatedExtents(uri) : await this.nbdInfo.dirtyExtents(uri, disk.parentChangeId);
      const opened = await this.openedGraph(runDirectory, disk);
      return { served: { disk_key: disk.key, uri, size_bytes: disk.sizeBytes, opened }, extents: mergeExtents(extents) };
    } catch (error) {
      throw (await this.serverFailure(runDirectory, disk.key, error)) ?? asFailure(error, disk.key, 'snapshot_failed');
    }
  }

  /** @throws DomainError snapshot_lost */
  async confirm(directory: string, snapshot: StandingSnapshot): Promise<void> {
    for (const [index, disk] of snapshot.disks.entries()) {
      const status = await this.supervisor.status(serverDirectory(directory, index));
      if (status.state === 'running') continue;
      const why = status.state === 'exited' && status.stderr !== '' ? `: ${status.stderr.trim()}` : '.';
      throw failure('conflict', 'snapshot_lost', disk.disk_key, `The server that holds disk "${disk.disk_key}" as of ${snapshot.instant} has ended${why}`);
    }
  }

  /** Stops all servers of the directory and removes it. */
  async release(directory: string): Promise<void> {
    await Promise.all((await foldersIn(directory)).map((server) => this.supervisor.stop(join(directory, server), STOP_GRACE_MS)));
    await removeSocketDirectory(directory);
    await rm(directory, { recursive: true, force: true });
  }

  /**
   * The disk, under names that refer to the files its server has open. @throws DomainError source_changed if it has opened more than was checked, because the
   * image now names other files
   */
  private async openedGraph(runDirectory: string, { key, chain }: ServedDisk): Promise<ImageGraph> {
    const status = await this.supervisor.status(runDirectory);
    const pid = status.state === 'running' ? status.identity?.pid : undefined;
    if (pid === undefined) throw failure('unavailable', 'snapshot_failed', key, `The server of disk "${key}" exited immediately.`);
    const [more] = await unexpectedFiles(pid, chain.identities);
    if (more !== undefined)
      throw failure('conflict', 'source_changed', key, `The image of disk "${key}" was changed while it was being opened: it now names "${more}".`);
    return chain.graph((index) => `/proc/${pid}/fd/${FIRST_INHERITED + index}`);
  }

  private async awaitSocket(runDirectory: string, socket: string, key: string): Promise<void> {
    const deadline = performance.now() + SERVER_START_MS;
    while (!(await accepts(socket))) {
      if ((await this.supervisor.status(runDirectory)).state !== 'running')
        throw failure('unavailable', 'snapshot_failed', key, `The server of disk "${key}" exited immediately.`);
      if (performance.now() > deadline)
        throw failure('unavailable', 'snapshot_failed', key, `The server of disk "${key}" did not listen within ${SERVER_START_MS} ms.`);
      await pause(SOCKET_POLL_MS);
    }
  }

  /** The server's own message before it ended; null if it is still running and therefore not the cause. */
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
}

/** `auto`: it records every write; `in-use`: left behind by an image that was not closed cleanly. */
export function isSound(bitmap: ImageBitmap): boolean {
  return bitmap.flags.includes('auto') && !bitmap.flags.includes('in-use');
}

function serverDirectory(directory: string, index: number): string {
  return join(directory, `disk-${index}`);
}

/** Checking the socket's name is not enough: between bind and listen it exists, and refuses connections. */
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

/** Waits for all work before it throws, so that nothing starts during the caller's clean-up. */
export async function allOrFirstError<Result>(work: readonly Promise<Result>[]): Promise<Result[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

export function failure(kind: ErrorKind, code: Failure['code'], key: string, detail: string): DomainError {
  return new DomainError(kind, code, detail, { disk_key: key });
}

export function asFailure(error: unknown, key: string, code: string): DomainError {
  if (error instanceof DomainError) return error;
  if (error instanceof ToolError && error.code === 'tool_missing') return toolMissing(error);
  if (isLockError(error)) return failure('conflict', 'disk_in_use', key, inUse(key, 'another program has it open').detail);
  return failure('unavailable', code, key, `Disk "${key}": ${messageOf(error)}`);
}
