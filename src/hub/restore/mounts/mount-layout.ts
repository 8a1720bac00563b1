import { join } from 'node:path';

/** What lies in the folder of a mount. */
export function mountLayout(directory: string) {
  return {
    /** The disk as one raw file. */
    disk: join(directory, 'disk'),
    /** Where the file system is mounted. */
    root: join(directory, 'fs'),
    /** Run directories of the processes. */
    tools: join(directory, 'tools'),
    /** The named pipe from which the sandbox reads what to do. */
    sandboxOrders: join(directory, 'tools', 'sandbox-orders'),
    /** Name of the nbd device that is about to be taken. */
    nbdDevice: join(directory, 'nbd-device'),
  };
}

/** Run directory of one process of a mount. */
export function toolDirectory(directory: string, tool: MountTool): string {
  return join(mountLayout(directory).tools, tool);
}

export const MOUNT_TOOLS = ['ntfs-3g', 'guestfish', 'qemu-nbd', 'qemu-storage-daemon'] as const;
/** In the order in which they are ended: what stands on another goes first. */
export type MountTool = (typeof MOUNT_TOOLS)[number];
