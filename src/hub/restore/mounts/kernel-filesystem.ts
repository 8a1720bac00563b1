/** How the host mounts a file system that `blkid` names so. */
export type KernelFilesystem =
  | { readonly by: 'mount'; readonly type: string; readonly options: string }
  /** In user space, where a hostile volume does not meet the kernel. */
  | { readonly by: 'ntfs-3g'; readonly options: string };

/** What holds for every mount: nothing on it can be run, become a device, lend rights or lead out of it. */
export const SAFE = 'nosuid,nodev,noexec,nosymfollow';

/**
 * Read-only without replaying a journal: a replay would write, and a restore point shows the disk as it was. `errors=continue` because a superblock may
 * otherwise ask for a panic of the machine; `nouuid` because several restore points of one disk have one UUID. null: not a kind that the host mounts.
 */
export function kernelFilesystem(type: string): KernelFilesystem | null {
  switch (type) {
    case 'ext2':
    case 'ext3':
    case 'ext4':
      return { by: 'mount', type: 'ext4', options: `ro,noload,errors=continue,${SAFE}` };
    case 'xfs':
      return { by: 'mount', type, options: `ro,norecovery,nouuid,${SAFE}` };
    case 'btrfs':
      return { by: 'mount', type, options: `ro,rescue=nologreplay,${SAFE}` };
    case 'vfat':
      return { by: 'mount', type, options: `ro,utf8=1,${SAFE}` };
    case 'exfat':
    case 'squashfs':
    case 'erofs':
    case 'iso9660':
    case 'udf':
      return { by: 'mount', type, options: `ro,${SAFE}` };
    case 'ntfs':
      return { by: 'ntfs-3g', options: 'ro,norecover,no_detach,nosuid,nodev,noexec' };
    default:
      return null;
  }
}
