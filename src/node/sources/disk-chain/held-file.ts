import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, readFile, readlink, statfs } from 'node:fs/promises';
import { isLockedByQemu } from '../../../lib/qemu/image-locks.plan.js';
import { fileIdentity } from '../image/open-writers.js';

/** open(2): a descriptor that only refers to a file. Devices and pipes do not notice it. Node.js has no constant for it. */
const O_PATH = 0o10000000;

/** Magic numbers (statfs(2)) of file systems that only this machine uses, and whose files have its device number: ext2 to ext4, xfs, tmpfs. */
const LOCKS_ARE_HERE: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x01021994]);

/** The checked file was replaced by another one, or the file cannot be a disk. */
export class NotThisFileError extends Error {
  override readonly name = 'NotThisFileError';
}

/**
 * A file of this machine that is held open, so that tools read exactly the file that was checked: they inherit the descriptor, whatever the path refers to by
 * then.
 */
export class HeldFile {
  private constructor(
    readonly handle: FileHandle,
    readonly realPath: string,
    private readonly stats: BigIntStats,
  ) {}

  /**
   * @param realPath absolute, without symbolic links
   * @throws NotThisFileError if the path now contains a symbolic link, or refers to neither a regular file nor a block device; the system's error
   */
  static async open(realPath: string): Promise<HeldFile> {
    const named = await open(realPath, O_PATH | constants.O_NOFOLLOW);
    try {
      const stats = await named.stat({ bigint: true });
      const link = `/proc/self/fd/${named.fd}`;
      if (stats.isSymbolicLink() || (await readlink(link)) !== realPath) throw new NotThisFileError(`"${realPath}" was replaced while it was being opened.`);
      if (!stats.isFile() && !stats.isBlockDevice()) throw new NotThisFileError(`"${realPath}" is neither a regular file nor a block device.`);
      return new HeldFile(await open(link, constants.O_RDONLY | constants.O_NONBLOCK), realPath, stats);
    } finally {
      await named.close();
    }
  }

  /** See fileIdentity. */
  get identity(): string {
    return fileIdentity(this.stats);
  }

  get isDevice(): boolean {
    return this.stats.isBlockDevice();
  }

  /** 0 for a device. */
  get sizeBytes(): number {
    return Number(this.stats.size);
  }

  /** The first bytes of the file; fewer if it is shorter. */
  async head(length: number): Promise<Buffer> {
    const { buffer, bytesRead } = await this.handle.read(Buffer.alloc(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  }

  /** Whether a qemu program keeps others from opening the file; null if that is unknown, because programs on other machines may have locked it too. */
  async isLockedByQemu(): Promise<boolean | null> {
    if (this.isDevice || !LOCKS_ARE_HERE.has((await statfs(`/proc/self/fd/${this.handle.fd}`)).type)) return null;
    return isLockedByQemu(await readFile('/proc/locks', 'utf8'), { device: this.stats.dev, inode: this.stats.ino });
  }

  /**
   * Changes with every write to the file, and when another file takes its place, but not by reading. Includes the inode's change time, which no program can set
   * back; that time means nothing for a device node.
   */
  async witness(): Promise<string> {
    const now = await this.handle.stat({ bigint: true });
    return [fileIdentity(now), now.size, now.mtimeNs, ...(this.isDevice ? [] : [now.ctimeNs])].join(':');
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
