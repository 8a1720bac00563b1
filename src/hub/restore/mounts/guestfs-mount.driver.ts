import { access, type FileHandle, mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CAP_SYS_ADMIN, hasCapability } from '../../../lib/process/capabilities.js';
import { ProcessSupervisor } from '../../../lib/process/process-supervisor.port.js';
import { runBounded } from './bounded-tool.js';
import { choosePartition } from './disk-partitions.js';
import { mountErrorOf, restrict, shownMount, untilFound } from './kernel-mount.driver.js';
import {
  type DiskPartition,
  type DriverAvailability,
  MountDriver,
  type MountDriverName,
  type MountedDisk,
  MountError,
  type MountOrder,
  type MountResource,
  namedResource,
} from './mount-driver.port.js';
import { mountLayout, toolDirectory } from './mount-layout.js';

const LOOK_DEADLINE_MS = 180_000;
const MOUNT_DEADLINE_MS = 180_000;
const PIPE_DEADLINE_MS = 5_000;
const FIRST_LOGICAL_VOLUME = 1001;

/** Types that hold no files the sandbox could mount. */
const WITHOUT_FILES: ReadonlySet<string> = new Set(['swap', 'LVM2_member', 'linux_raid_member']);

export interface GuestfsOptions {
  /** Emulates the sandbox's machine even if the host supports virtualization: slower, but the same everywhere. */
  readonly forceEmulation: () => boolean;
}

/**
 * libguestfs: the kernel of a throwaway virtual machine mounts the guest's file system; the host's kernel never reads it. Supports LVM and NTFS; slow to start.
 */
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
      return { available: false, reason: 'this process has no right to mount; on a deployed hub, run `install.sh hub --with-file-restore`' };
    }
    if (
      !(await access('/dev/fuse').then(
        () => true,
        () => false,
      ))
    )
      return { available: false, reason: '/dev/fuse does not exist; load the kernel module fuse' };
    for (const tool of ['guestfish', 'fusermount3'] as const) {
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
    const sandbox = new Sandbox(this.supervisor, order.directory);
    try {
      await mkdir(root, { recursive: true, mode: 0o700 });
      await sandbox.start(topOf(order), this.env());
      const found = parseFilesystems(await sandbox.look(signal));
      const partition = choosePartition(
        found.map((each) => each.partition),
        order.partition,
        (type) => !WITHOUT_FILES.has(type),
      );
      const device = found.find((each) => each.partition === partition)?.device ?? '';
      const server = await sandbox.show(device, partition, root, signal);
      // mount(8) works only for root, whatever capabilities others have. For them, the options given to the sandbox must suffice.
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
    } finally {
      await sandbox.endOrders();
    }
  }
}

/**
 * One virtual machine that first inspects the disk and then mounts one file system, because starting it takes most of the time. It reads its commands from a
 * named pipe, so it ends if the hub dies before the mount is ready. After that it no longer depends on the hub.
 */
class Sandbox {
  private readonly runDirectory: string;
  private orders: FileHandle | null = null;

  constructor(
    private readonly supervisor: ProcessSupervisor,
    private readonly directory: string,
  ) {
    this.runDirectory = toolDirectory(directory, 'guestfish');
  }

  async start(file: string, env: Readonly<Record<string, string>>): Promise<void> {
    const pipe = mountLayout(this.directory).sandboxOrders;
    await mkdir(dirname(pipe), { recursive: true, mode: 0o700 });
    await runBounded(['mkfifo', '-m', '600', pipe], PIPE_DEADLINE_MS);
    // Read-write, because opening for writing alone would block until a reader opens it.
    this.orders = await open(pipe, 'r+');
    await this.orders.write(LOOK_SCRIPT);
    await this.supervisor.start(this.runDirectory, guestfishArgv(file, pipe), { env, rights: 'all' });
  }

  /** @returns what guestfish printed for LOOK_SCRIPT */
  async look(signal: AbortSignal): Promise<string> {
    const limits = { signal, deadlineMs: LOOK_DEADLINE_MS, late: 'the sandbox did not inspect the disk', everyMs: 100 };
    return untilFound(this.supervisor, this.runDirectory, limits, async (status) => {
      const printed = await readFile(join(this.runDirectory, 'stdout'), 'utf8').catch(() => '');
      if (printed.endsWith(`${LOOKED}\n`)) return printed;
      if (status.state !== 'exited') return null;
      if (status.exitCode === 127) throw new MountError('mount_driver_unavailable', `guestfish is not installed: ${status.stderr.trim()}`);
      throw new MountError('restore_point_unreadable', `the disk cannot be opened in the sandbox: ${status.stderr.trim()}`);
    });
  }

  async show(device: string, partition: DiskPartition, root: string, signal: AbortSignal): Promise<MountResource> {
    await this.orders?.write(showScript(device, partition.filesystem_type ?? '', root));
    try {
      return await shownMount(this.supervisor, this.directory, 'guestfish', root, signal, MOUNT_DEADLINE_MS);
    } catch (error) {
      if (error instanceof MountError && error.code === 'mount_failed') {
        throw new MountError(
          'filesystem_damaged',
          `${partition.name} (${partition.filesystem_type ?? ''}) could not be mounted in the sandbox: ${error.message}`,
        );
      }
      throw error;
    }
  }

  /** Closes the pipe. A sandbox without a mount then ends. */
  async endOrders(): Promise<void> {
    await this.orders?.close();
    this.orders = null;
  }
}

/** libguestfs takes no block graph, so it finds backing files through the file's header, which was checked before the mount. */
function topOf({ chain }: MountOrder): string {
  return chain.at(-1) ?? chain[0];
}

export interface FoundFilesystem {
  /** Device path inside the sandbox. */
  readonly device: string;
  readonly partition: DiskPartition;
}

export function guestfishArgv(file: string, orders: string): readonly [string, ...string[]] {
  return ['guestfish', '--ro', '--format=qcow2', '-a', file, '-f', orders];
}

/** Devices that may hold something other than a file system, such as an encrypted volume, and are then in no list: the whole disk and its partitions. */
const PROBED = ['/dev/sda', ...Array.from({ length: 32 }, (_, index) => `/dev/sda${index + 1}`)];

const LOOKED = 'looked at everything';

/**
 * Lists file systems with their types, then the sizes of partitions and logical volumes; a leading dash ignores failures where there are none. guestfish
 * flushes its output before it starts another program, so the last line pipes into one.
 */
export const LOOK_SCRIPT = [
  'run',
  'list-filesystems',
  '-part-list /dev/sda',
  '-lvs-full',
  ...PROBED.flatMap((device) => [`echo probed: ${device}`, `-vfs-type ${device}`]),
  `echo "${LOOKED}" | cat`,
  '',
].join('\n');

/** @throws MountError when the disk names a volume in a way that guestfish might interpret as a command */
export function showScript(device: string, type: string, root: string): string {
  if (!/^\/dev\/[\w.+-]+(\/[\w.+-]+)*$/.test(device))
    throw new MountError('filesystem_unsupported', `the volume name ${JSON.stringify(device)} is not supported`);
  return [
    `mount-options ${sandboxOptions(type)} ${device} /`,
    `mount-local ${quoted(root)} readonly:true options:ro,nosuid,nodev,noexec`,
    'mount-local-run',
    '',
  ].join('\n');
}

/** Quotes for guestfish, which interprets C escapes in double quotes. */
function quoted(text: string): string {
  return `"${text.replaceAll(/[\\"]/g, String.raw`\$&`)}"`;
}

/**
 * Whether an unprivileged process may mount with FUSE: it has CAP_SYS_ADMIN, or it may gain privileges through the set-user-ID program fusermount3.
 * @param status text of `/proc/<pid>/status`
 */
export function mayMountFuse(status: string): boolean {
  return hasCapability(status, CAP_SYS_ADMIN) || /^NoNewPrivs:\t0$/m.test(status);
}

/** No journal is replayed in the sandbox either: the mount shows the disk as backed up. */
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

/** Parses the output of LOOK_SCRIPT. */
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
