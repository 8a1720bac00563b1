/** How the host mounts a file system of a `blkid` type. */
export type KernelFilesystem =
  | { readonly by: 'mount'; readonly type: string; readonly options: string }
  /** In user space, so that the kernel does not parse a hostile volume. */
  | { readonly by: 'ntfs-3g'; readonly options: string };

/** Options of every mount: no execution, device nodes, set-user-ID programs or symbolic links. */
export const SAFE = 'nosuid,nodev,noexec,nosymfollow';

/**
 * Read-only without replaying a journal: a replay would write, and a restore point shows the disk as it was. `errors=continue` because a superblock may
 * otherwise request a kernel panic; `nouuid` because several restore points of one disk share a UUID. null: a type that the host does not mount.
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
