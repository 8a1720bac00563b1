import { access } from 'node:fs/promises';
import { MountError, type MountDriverName, type MountOrder } from './mount-driver.port.js';
import { runBounded } from './bounded-tool.js';
import { KernelMountDriver, makeMountFile, type RawView } from './kernel-mount.driver.js';
import { imageNode, type ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import { mountLayout } from './mount-layout.js';

const START_DEADLINE_MS = 15_000;

/** Exposes the QCOW2 chain as a raw file through qemu-storage-daemon and FUSE, with a loop device on top. Needs no nbd module. */
export class FuseMountDriver extends KernelMountDriver {
  override readonly name: MountDriverName = 'fuse';

  protected override async missing(): Promise<string | null> {
    if (
      !(await access('/dev/fuse').then(
        () => true,
        () => false,
      ))
    )
      return '/dev/fuse does not exist; load the kernel module fuse';
    try {
      await runBounded(['qemu-storage-daemon', '--version'], START_DEADLINE_MS);
      return null;
    } catch {
      return 'qemu-storage-daemon is not installed (Debian: qemu-system-common)';
    }
  }

  protected override async show(order: MountOrder, signal: AbortSignal): Promise<RawView> {
    const { disk } = mountLayout(order.directory);
    await makeMountFile(disk);
    try {
      const server = await this.serve(order, 'qemu-storage-daemon', storageDaemonArgv(order.chain, disk), disk, signal, START_DEADLINE_MS);
      return { path: disk, sizeBytes: await sizeOf(disk, signal), resources: [server] };
    } catch (error) {
      if (error instanceof MountError && error.code === 'mount_failed')
        throw new MountError('restore_point_unreadable', `${order.chain.at(-1) ?? ''} cannot be opened: ${error.message}`);
      throw error;
    }
  }
}

/** As JSON, so that no character of a path is special. */
export function storageDaemonArgv(chain: ImageChain, mountPoint: string): readonly [string, ...string[]] {
  return [
    'qemu-storage-daemon',
    '--blockdev',
    JSON.stringify({ ...imageNode(chain), 'node-name': 'disk', 'read-only': true }),
    '--export',
    JSON.stringify({ type: 'fuse', id: 'disk', 'node-name': 'disk', mountpoint: mountPoint, writable: false }),
  ];
}

/** Uses a tool with a deadline, because stat hangs when the file's server does. */
async function sizeOf(disk: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await runBounded(['stat', '--format=%s', disk], START_DEADLINE_MS, { signal });
  return Number(stdout.trim());
}
