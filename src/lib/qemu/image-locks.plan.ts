import { deviceNumber } from '../files/device-number.js';

/**
 * Bytes of an image that a qemu program has locked while it may write (101) or resize (103) it, or lets no other program read it (200). qemu's programs use
 * these numbers among each other (block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE), so they do not change.
 */
const EXCLUDING_BYTES = [101, 103, 200];

/**
 * Whether a qemu program on this machine has an image open in a way that keeps others from opening it, as `qemu-img info` finds out by trying.
 * @param locks text of `/proc/locks`, which holds the locks of all users
 * @param file device and inode number as stat(2) reports them; only on file systems whose files report the device of the file system
 */
export function isLockedByQemu(locks: string, file: { readonly device: bigint; readonly inode: bigint }): boolean {
  return locks.split('\n').some((line) => {
    // `1: OFDLCK ADVISORY READ -1 fe:00:1168 100 101`; a waiting lock has an arrow before its kind.
    const [, kind, major, minor, inode, first, last] = /^\d+: (OFDLCK|POSIX) .* ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)$/.exec(line) ?? [];
    if (kind === undefined || major === undefined || minor === undefined || inode === undefined) return false;
    if (BigInt(inode) !== file.inode || deviceNumber(BigInt(`0x${major}`), BigInt(`0x${minor}`)) !== file.device) return false;
    return EXCLUDING_BYTES.some((byte) => byte >= Number(first) && (last === 'EOF' || byte <= Number(last)));
  });
}
