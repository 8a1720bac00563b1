import { join } from 'node:path';

/** Layout of a mount's directory. */
export function mountLayout(directory: string) {
  return {
    /** The disk as one raw file. */
    disk: join(directory, 'disk'),
    /** Mount point of the file system. */
    root: join(directory, 'fs'),
    /** Run directories of the processes. */
    tools: join(directory, 'tools'),
    /** Named pipe from which the sandbox reads its commands. */
    sandboxOrders: join(directory, 'tools', 'sandbox-orders'),
    /** Name of the nbd device about to be used. */
    nbdDevice: join(directory, 'nbd-device'),
  };
}

/** Run directory of one process of a mount. */
export function toolDirectory(directory: string, tool: MountTool): string {
  return join(mountLayout(directory).tools, tool);
}

export const MOUNT_TOOLS = ['ntfs-3g', 'guestfish', 'qemu-nbd', 'qemu-storage-daemon'] as const;
/** In stop order: a process that depends on another comes first. */
export type MountTool = (typeof MOUNT_TOOLS)[number];
