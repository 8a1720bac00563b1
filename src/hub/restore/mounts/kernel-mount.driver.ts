import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../kernel/error-message.js';
import { ProcessSupervisor, type SupervisedStatus } from '../../../lib/process/process-supervisor.port.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import { runBounded } from './bounded-tool.js';
import { choosePartition, probePartitions } from './disk-partitions.js';
import { kernelFilesystem, SAFE } from './kernel-filesystem.js';
import {
  type DiskPartition,
  type DriverAvailability,
  MountDriver,
  type MountedDisk,
  MountError,
  type MountOrder,
  type MountResource,
  namedResource,
  processResource,
} from './mount-driver.port.js';
import { mountLayout, type MountTool, toolDirectory } from './mount-layout.js';
import { mountsBelow } from '../../../lib/files/mount-table.js';

/** The disk as the host sees it: a raw file or a block device. */
export interface RawView {
  readonly path: string;
  readonly sizeBytes: number;
  readonly resources: readonly MountResource[];
}

const LOOP_DEADLINE_MS = 10_000;
const MOUNT_DEADLINE_MS = 30_000;
const LOOK_MS = 5;

/** Base of the drivers that mount with the host's kernel. They differ in how they expose the QCOW2 chain as a raw disk. */
export abstract class KernelMountDriver extends MountDriver {
  constructor(protected readonly supervisor: ProcessSupervisor) {
    super();
  }

  /** Opens the chain read-only and exposes it as one raw disk. @throws MountError */
  protected abstract show(order: MountOrder, signal: AbortSignal): Promise<RawView>;

  /** The missing requirement specific to this driver, as a message; null: none. */
  protected abstract missing(): Promise<string | null>;

  override async availability(): Promise<DriverAvailability> {
    if (process.getuid?.() !== 0) return { available: false, reason: 'mounting requires root' };
    for (const tool of ['losetup', 'blkid', 'sfdisk', 'mount', 'umount'] as const) {
      try {
        await runBounded([tool, '--version'], LOOP_DEADLINE_MS);
      } catch {
        return { available: false, reason: `${tool} is not installed` };
      }
    }
    const reason = await this.missing();
    return reason === null ? { available: true } : { available: false, reason };
  }

  override async mount(order: MountOrder, signal: AbortSignal): Promise<MountedDisk> {
    const { root } = mountLayout(order.directory);
    try {
      await mkdir(root, { recursive: true, mode: 0o700 });
      const view = await this.show(order, signal);
      const partitions = await probePartitions(view.path, view.sizeBytes, signal);
      const partition = choosePartition(partitions, order.partition, (type) => kernelFilesystem(type) !== null);
      const device = await attachLoop(view.path, partition, signal);
      const resources = [...view.resources, namedResource('loop_device', device), namedResource('mount_point', root)];
      const server = await this.mountFilesystem(order, partition, device, signal);
      return {
        driver: this.name,
        device,
        mountPath: root,
        filesystemType: partition.filesystem_type ?? '',
        partition: partition.number,
        partitions,
        resources: server === null ? resources : [...resources, server],
      };
    } catch (error) {
      signal.throwIfAborted();
      throw mountErrorOf(error);
    }
  }

  private async mountFilesystem(order: MountOrder, partition: DiskPartition, device: string, signal: AbortSignal): Promise<MountResource | null> {
    const { root } = mountLayout(order.directory);
    const how = kernelFilesystem(partition.filesystem_type ?? '');
    if (how === null) throw new MountError('filesystem_unsupported', `${partition.name} holds a file system that this driver cannot mount`, [partition]);
    if (how.by === 'ntfs-3g') {
      const server = await this.serveNtfs(order, partition, ['ntfs-3g', '-o', how.options, device, root], signal);
      await restrict(root, signal);
      return server;
    }
    try {
      await runBounded(['mount', '-t', how.type, '-o', how.options, device, root], MOUNT_DEADLINE_MS, { signal });
      return null;
    } catch (error) {
      throw error instanceof ToolError && error.code === 'tool_failed' ? refusedMount(partition, error) : error;
    }
  }

  private async serveNtfs(order: MountOrder, partition: DiskPartition, argv: readonly [string, ...string[]], signal: AbortSignal): Promise<MountResource> {
    try {
      return await this.serve(order, 'ntfs-3g', argv, mountLayout(order.directory).root, signal);
    } catch (error) {
      if (!(error instanceof MountError) || error.code === 'mount_timed_out') throw error;
      const code = error.code === 'mount_driver_unavailable' ? 'filesystem_unsupported' : 'filesystem_damaged';
      throw new MountError(code, `${partition.name} (ntfs) could not be mounted: ${error.message}`, [partition]);
    }
  }

  /** Starts a process that mounts at a mount point and keeps serving it. @throws MountError when it ends before the mount is ready */
  protected async serve(
    order: MountOrder,
    tool: MountTool,
    argv: readonly [string, ...string[]],
    mountPoint: string,
    signal: AbortSignal,
    deadlineMs = MOUNT_DEADLINE_MS,
  ): Promise<MountResource> {
    await this.supervisor.start(toolDirectory(order.directory, tool), argv, { rights: 'all' });
    return shownMount(this.supervisor, order.directory, tool, mountPoint, signal, deadlineMs);
  }
}

/**
 * Waits until a started process has mounted at the mount point.
 * @throws MountError `mount_failed` with its standard error when it ends early, `mount_timed_out`; or the reason of the signal
 */
export async function shownMount(
  supervisor: ProcessSupervisor,
  directory: string,
  tool: MountTool,
  mountPoint: string,
  signal: AbortSignal,
  deadlineMs: number,
): Promise<MountResource> {
  const limits = { signal, deadlineMs, late: `${tool} did not mount the disk` };
  return untilFound(supervisor, toolDirectory(directory, tool), limits, async (status) => {
    if (status.state !== 'running') {
      const said = status.state === 'exited' ? status.stderr.trim() : '';
      throw new MountError(status.state === 'exited' && status.exitCode === 127 ? 'mount_driver_unavailable' : 'mount_failed', `${tool} ended: ${said}`);
    }
    return status.identity !== null && (await mountsBelow(mountPoint)).length > 0 ? processResource(tool, status.identity) : null;
  });
}

/** Repeats `find` with the status of a started process until it finds something. @throws MountError `mount_timed_out`; or the reason of the signal */
export async function untilFound<Found>(
  supervisor: ProcessSupervisor,
  runDirectory: string,
  limits: { readonly signal: AbortSignal; readonly deadlineMs: number; readonly late: string; readonly everyMs?: number },
  find: (status: SupervisedStatus) => Promise<Found | null>,
): Promise<Found> {
  const { signal, deadlineMs, late, everyMs = LOOK_MS } = limits;
  const ends = performance.now() + deadlineMs;
  for (;;) {
    signal.throwIfAborted();
    const found = await find(await supervisor.status(runDirectory));
    if (found !== null) return found;
    if (performance.now() > ends) throw new MountError('mount_timed_out', `${late} within ${deadlineMs} ms`);
    await pause(everyMs);
  }
}

/** Restricts a mount made by a user-space program to safe options, enforced by the kernel. @throws ToolError */
export async function restrict(root: string, signal: AbortSignal): Promise<void> {
  await runBounded(['mount', '-o', `remount,bind,ro,${SAFE}`, root], MOUNT_DEADLINE_MS, { signal });
}

/** Attaches a loop device to the partition's part of the disk: partition device nodes need udev, which may be absent. */
async function attachLoop(disk: string, { start_bytes, size_bytes }: DiskPartition, signal: AbortSignal): Promise<string> {
  const part =
    start_bytes === 0 || start_bytes === null ? [] : ['--offset', String(start_bytes), ...(size_bytes === null ? [] : ['--sizelimit', String(size_bytes)])];
  const { stdout } = await runBounded(['losetup', '--read-only', '--find', '--show', ...part, disk], LOOP_DEADLINE_MS, { signal });
  return stdout.trim();
}

function refusedMount(partition: DiskPartition, error: ToolError): MountError {
  const said = error.stderrTail.trim();
  const what = `${partition.name} (${partition.filesystem_type ?? ''})`;
  if (/unknown filesystem type|no such device/i.test(said)) {
    return new MountError('filesystem_unsupported', `the kernel of this machine does not support the file system of ${what}: ${said}`, [partition]);
  }
  // Linux before 6.7 refuses a second restore point of one btrfs, because both have the same UUID.
  if (partition.filesystem_type === 'btrfs' && /file exists|already mounted/i.test(said)) {
    return new MountError('filesystem_unsupported', `the kernel of this machine cannot mount ${what} while another restore point of it is mounted: ${said}`, [
      partition,
    ]);
  }
  return new MountError('filesystem_damaged', `${what} could not be mounted; its file system is probably damaged: ${said}`, [partition]);
}

export function mountErrorOf(error: unknown): MountError {
  if (error instanceof MountError) return error;
  if (error instanceof ToolError) {
    const code = { tool_missing: 'mount_driver_unavailable', tool_timeout: 'mount_timed_out', tool_failed: 'mount_failed' } as const;
    return new MountError(code[error.code], error.message);
  }
  return new MountError('mount_failed', messageOf(error));
}

/** Creates the empty file that serves as the mount point of a disk. */
export async function makeMountFile(path: string): Promise<void> {
  await writeFile(path, '', { flag: 'a', mode: 0o600 });
}
