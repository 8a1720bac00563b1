import { access, mkdir, readFile } from 'node:fs/promises';
import { CAP_SYS_ADMIN, hasCapability } from '../../../lib/process/capabilities.js';
import { ProcessSupervisor } from '../../../lib/process/process-supervisor.port.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import { runBounded } from './bounded-tool.js';
import { choosePartition } from './disk-partitions.js';
import { mountErrorOf, restrict, serveMount } from './kernel-mount.driver.js';
import {
  type DiskPartition,
  type DriverAvailability,
  MountDriver,
  type MountDriverName,
  type MountedDisk,
  MountError,
  type MountOrder,
  namedResource,
} from './mount-driver.port.js';
import { mountLayout } from './mount-layout.js';

const LOOK_DEADLINE_MS = 180_000;
const MOUNT_DEADLINE_MS = 180_000;
const FIRST_LOGICAL_VOLUME = 1001;

/** Cannot hold files that the sandbox could show. */
const WITHOUT_FILES: ReadonlySet<string> = new Set(['swap', 'LVM2_member', 'linux_raid_member']);

export interface GuestfsOptions {
  /** Emulates the sandbox's machine even where the host could virtualise it: slower, and the same everywhere. */
  readonly forceEmulation: () => boolean;
}

/** libguestfs: the guest's file system is mounted by the kernel of a throwaway virtual machine, and never meets the host's. Knows LVM and NTFS; slow to start. */
export class GuestfsMountDriver extends MountDriver {
  override readonly name: MountDriverName = 'guestfs';

  constructor(
    private readonly supervisor: ProcessSupervisor,
    private readonly options: GuestfsOptions,
  ) {
    super();
  }

  private env(): Readonly<Record<string, string>> {
    return { LIBGUESTFS_BACKEND: 'direct', ...(this.options.forceEmulation() ? { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' } : {}) };
  }

  override async availability(): Promise<DriverAvailability> {
    if (process.getuid?.() !== 0 && !mayMountFuse(await readFile('/proc/self/status', 'utf8'))) {
      return { available: false, reason: 'this process may not mount anything; `install.sh hub --with-file-restore` gives a deployed hub the right to' };
    }
    if (
      !(await access('/dev/fuse').then(
        () => true,
        () => false,
      ))
    )
      return { available: false, reason: 'there is no /dev/fuse; load the kernel module fuse' };
    for (const tool of ['guestmount', 'guestfish', 'fusermount3'] as const) {
      try {
        await runBounded([tool, '--version'], 15_000);
      } catch {
        const brought = tool === 'fusermount3' ? 'fuse3' : 'libguestfs-tools and a kernel, linux-image-cloud-amd64';
        return { available: false, reason: `${tool} is not installed (Debian: ${brought})` };
      }
    }
    return { available: true };
  }

  override async mount(order: MountOrder, signal: AbortSignal): Promise<MountedDisk> {
    const { root } = mountLayout(order.directory);
    try {
      await mkdir(root, { recursive: true, mode: 0o700 });
      const found = await this.look(order, signal);
      const partition = choosePartition(
        found.map((each) => each.partition),
        order.partition,
        (type) => !WITHOUT_FILES.has(type),
      );
      const device = found.find((each) => each.partition === partition)?.device ?? '';
      const server = await this.serve(order, device, partition, signal);
      // mount(8) refuses to work for others than root, whatever rights they have. For them it stays with what guestmount was told.
      if (process.getuid?.() === 0) await restrict(root, signal);
      return {
        driver: this.name,
        device,
        mountPath: root,
        filesystemType: partition.filesystem_type ?? '',
        partition: partition.number,
        partitions: found.map((each) => each.partition),
        resources: [server, namedResource('mount_point', root)],
      };
    } catch (error) {
      signal.throwIfAborted();
      throw mountErrorOf(error);
    }
  }

  private async serve(order: MountOrder, device: string, partition: DiskPartition, signal: AbortSignal) {
    const { root } = mountLayout(order.directory);
    try {
      return await serveMount(
        this.supervisor,
        order.directory,
        'guestmount',
        guestmountArgv(topOf(order), device, partition, root),
        root,
        signal,
        MOUNT_DEADLINE_MS,
        this.env(),
      );
    } catch (error) {
      if (error instanceof MountError && error.code === 'mount_failed') {
        throw new MountError('filesystem_damaged', `${partition.name} (${partition.filesystem_type ?? ''}) does not mount in the sandbox: ${error.message}`);
      }
      throw error;
    }
  }

  /** Starts the sandbox once to see what is on the disk. */
  private async look(order: MountOrder, signal: AbortSignal): Promise<readonly FoundFilesystem[]> {
    try {
      const { stdout } = await runBounded(guestfishArgv(topOf(order)), LOOK_DEADLINE_MS, { signal, env: this.env(), input: GUESTFISH_SCRIPT });
      return parseFilesystems(stdout);
    } catch (error) {
      if (error instanceof ToolError && error.code === 'tool_failed')
        throw new MountError('restore_point_unreadable', `${topOf(order)} cannot be opened: ${error.stderrTail.trim()}`);
      throw error;
    }
  }
}

/** libguestfs takes no graph, so what the file stands on follows from its header, which was checked before the mount. */
function topOf({ chain }: MountOrder): string {
  return chain.at(-1) ?? chain[0];
}

export interface FoundFilesystem {
  /** Within the sandbox. */
  readonly device: string;
  readonly partition: DiskPartition;
}

export function guestfishArgv(file: string): readonly [string, ...string[]] {
  return ['guestfish', '--ro', '--format=qcow2', '-a', file];
}

/** What may hold something that is no file system, such as an encrypted volume, and is then in no list: the whole disk, and partitions. */
const PROBED = ['/dev/sda', ...Array.from({ length: 32 }, (_, index) => `/dev/sda${index + 1}`)];

/** Lists file systems with their types, then the sizes of partitions and logical volumes; a dash lets the script go on where there are none. */
export const GUESTFISH_SCRIPT = [
  'run',
  'list-filesystems',
  '-part-list /dev/sda',
  '-lvs-full',
  ...PROBED.flatMap((device) => [`echo probed: ${device}`, `-vfs-type ${device}`]),
  '',
].join('\n');

/**
 * Whether a process other than root's may mount by FUSE: with the capability for it, or through the set-user-ID program fusermount3, which works for whoever may
 * gain rights by starting programs.
 * @param status text of `/proc/<pid>/status`
 */
export function mayMountFuse(status: string): boolean {
  return hasCapability(status, CAP_SYS_ADMIN) || /^NoNewPrivs:\t0$/m.test(status);
}

export function guestmountArgv(file: string, device: string, { filesystem_type: type }: DiskPartition, root: string): readonly [string, ...string[]] {
  const options = ['-o', 'ro', '-o', 'nosuid', '-o', 'nodev', '-o', 'noexec'];
  return ['guestmount', '--ro', '--no-fork', '--format=qcow2', '-a', file, ...options, '-m', `${device}:/:${sandboxOptions(type ?? '')}`, root];
}

/** Within the sandbox too no journal is replayed: what is shown is what was backed up. */
function sandboxOptions(type: string): string {
  switch (type) {
    case 'ext3':
    case 'ext4':
      return 'ro,noload';
    case 'xfs':
      return 'ro,norecovery,nouuid';
    case 'btrfs':
      return 'ro,rescue=nologreplay';
    default:
      return 'ro';
  }
}

/** Reads what GUESTFISH_SCRIPT makes guestfish print. */
export function parseFilesystems(stdout: string): readonly FoundFilesystem[] {
  const parts = new Map<number, { start: number; size: number }>();
  const volumes = new Map<string, number>();
  for (const block of stdout.matchAll(/part_num: (\d+)\s+part_start: (\d+)\s+part_end: \d+\s+part_size: (\d+)/g)) {
    parts.set(Number(block[1]), { start: Number(block[2]), size: Number(block[3]) });
  }
  for (const block of stdout.matchAll(/lv_name: (\S+)[\s\S]*?lv_size: (\d+)/g)) volumes.set(String(block[1]), Number(block[2]));
  const listed = new Map([...stdout.matchAll(/^(\/dev\/\S+): (\S+)$/gm)].map((line) => [String(line[1]), String(line[2])]));
  for (const [, device = '', type = ''] of stdout.matchAll(/^probed: (\S+)\n(?!probed: )(\S+)$/gm)) {
    if ((listed.get(device) ?? 'unknown') === 'unknown') listed.set(device, type);
  }
  const found = [...listed].map(([device, type]) => ({ device, type }));
  const logical = found
    .filter(({ device }) => !device.startsWith('/dev/sda'))
    .map(({ device }) => device)
    .toSorted();
  return found.map(({ device, type }) => {
    const number = device.startsWith('/dev/sda') ? Number(device.slice('/dev/sda'.length)) : FIRST_LOGICAL_VOLUME + logical.indexOf(device);
    const part = parts.get(number);
    const volume = volumes.get(device.slice(device.lastIndexOf('/') + 1));
    return {
      device,
      partition: {
        number,
        name: number === 0 ? 'whole disk' : number < FIRST_LOGICAL_VOLUME ? `partition ${number}` : device,
        start_bytes: number === 0 ? 0 : (part?.start ?? null),
        size_bytes: part?.size ?? volume ?? null,
        label: null,
        filesystem_type: type === 'unknown' ? null : type,
        filesystem_label: null,
      },
    };
  });
}
