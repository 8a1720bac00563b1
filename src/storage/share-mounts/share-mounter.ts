import { chmod, lstat, mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { ifThere } from '../../lib/files/if-there.js';
import { mountsBelow, mountTable } from '../../lib/files/mount-table.js';
import type { Logger } from '../../lib/logging/logger.js';
import { runTool } from '../../lib/process/run-tool.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { type MountedShare, type MountHelper, type MountHelperStatus, notMounted } from './mount-helper.port.js';
import { isPointName } from './mount-request.plan.js';
import { failureOf, isMountOf, mountAt, mountAttempts, type Share, sourceOf, versionOf } from './share-mount.plan.js';

const MOUNT_MS = 30_000;
const UNMOUNT_MS = 10_000;
const SHARE_TYPES: ReadonlySet<string> = new Set(['nfs', 'nfs4', 'cifs', 'smb3']);

/** Mounts shares, as root. Nothing but the mount table is looked at below a mount point, so a server that does not answer blocks nothing but `mount`. */
export class ShareMounter implements MountHelper {
  private readonly mutex = new KeyedMutex();

  /**
   * @param settings.directory of the mount points; only root may write to it
   * @param settings.credentialsDirectory of the files with accounts of CIFS servers
   * @param settings.uid,gid account of the hub
   */
  constructor(
    private readonly settings: { readonly directory: string; readonly credentialsDirectory: string; readonly uid: number; readonly gid: number },
    private readonly log: Logger,
  ) {}

  async mount(name: string, share: Share): Promise<MountedShare> {
    return this.mutex.runExclusive(name, () => this.mountNow(name, share));
  }

  async unmount(name: string): Promise<void> {
    return this.mutex.runExclusive(name, () => this.unmountNow(name));
  }

  async status(): Promise<MountHelperStatus> {
    const { directory } = this.settings;
    const names = (await mountsBelow(directory)).map(({ mountPoint }) => mountPoint.slice(directory.length + 1));
    return { directory, mounted: [...new Set(names.filter(isPointName))] };
  }

  private async mountNow(name: string, share: Share): Promise<MountedShare> {
    const path = join(this.settings.directory, name);
    const present = mountAt(path, await mountTable());
    if (present !== undefined && isMountOf(share, present)) return { path, version: versionOf(present) };
    // Another share: the repository has been moved, or somebody has mounted it there by hand.
    if (present !== undefined && SHARE_TYPES.has(present.filesystemType)) await this.unmountNow(name);
    const credentialsFile = share.type === 'cifs' && share.credentials !== null ? await this.credentials(share.credentials) : null;
    await this.makePoint(path);
    const attempts = mountAttempts(share, { point: path, uid: this.settings.uid, gid: this.settings.gid, credentialsFile });
    const failures: string[] = [];
    for (const { version, argv } of attempts) {
      try {
        await runTool(argv, { deadlineMs: MOUNT_MS });
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        const { reason, hint } =
          error.code === 'tool_timeout' ? ({ reason: 'unreachable', hint: 'The server does not answer.' } as const) : failureOf(share, error.stderrTail);
        failures.push(`version ${version}: ${hint} (${error.stderrTail.trim().split('\n')[0] ?? ''})`);
        if (reason === 'version_unsupported' && version !== attempts.at(-1)?.version) continue;
        throw notMounted(reason, `${sourceOf(share)} cannot be mounted. ${failures.join(' ')}`);
      }
      const entry = mountAt(path, await mountTable());
      if (entry === undefined || !isMountOf(share, entry)) {
        throw notMounted('failed', `mount reported success for ${sourceOf(share)}, but the mount table does not show it at "${path}".`);
      }
      this.log.info('share mounted', { path, source: sourceOf(share), version });
      return { path, version: versionOf(entry) ?? version };
    }
    throw notMounted('failed', `${sourceOf(share)} cannot be mounted: no version of the protocol is left to try.`);
  }

  /**
   * A folder to which nobody can write while nothing is mounted on it: of root, read-only, and bound read-only onto itself against root too. The hub must not be
   * able to replace it by a link.
   */
  private async makePoint(path: string): Promise<void> {
    const { directory } = this.settings;
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const folder = await lstat(directory);
    if (!folder.isDirectory() || folder.uid !== 0 || (folder.mode & 0o022) !== 0) {
      throw notMounted('mount_point_unsafe', `"${directory}" must be a folder of root to which nobody else can write.`);
    }
    const present = mountAt(path, await mountTable());
    if (present !== undefined) {
      // A crash may have left it writable.
      if (!SHARE_TYPES.has(present.filesystemType) && present.options[0] === 'rw') await runTool(['mount', '--options', 'remount,bind,ro', path]);
      return;
    }
    if ((await ifThere(lstat(path))) === null) await mkdir(path);
    if (!(await lstat(path)).isDirectory() || (await readdir(path)).length > 0) {
      throw notMounted('mount_point_unsafe', `"${path}" must be an empty folder. Move away what is in it.`);
    }
    await chmod(path, 0o555);
    await runTool(['mount', '--bind', path, path]);
    await runTool(['mount', '--options', 'remount,bind,ro', path]);
  }

  private async credentials(name: string): Promise<string> {
    const { credentialsDirectory } = this.settings;
    const path = join(credentialsDirectory, name);
    const [folder, file] = [await ifThere(lstat(credentialsDirectory)), await ifThere(lstat(path))];
    const problem =
      folder === null || file === null
        ? 'does not exist'
        : !file.isFile() || file.uid !== 0 || (file.mode & 0o077) !== 0 || !folder.isDirectory() || folder.uid !== 0 || (folder.mode & 0o022) !== 0
          ? 'must be a file of root that nobody else can read, in a folder to which nobody else can write'
          : null;
    if (problem !== null) throw notMounted('credentials_invalid', `The credentials file "${path}" ${problem}.`);
    return path;
  }

  private async unmountNow(name: string): Promise<void> {
    const path = join(this.settings.directory, name);
    for (let left = (await mountsBelow(path)).length; left > 0; left--) {
      const [top] = (await mountsBelow(path)).filter(({ mountPoint }) => mountPoint === path);
      if (top === undefined) break;
      try {
        await runTool(['umount', '--', path], { deadlineMs: UNMOUNT_MS });
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        // Open files keep the file system until they are closed, but nothing finds it by its path any more.
        await runTool(['umount', '--lazy', '--force', '--', path], { deadlineMs: UNMOUNT_MS });
      }
      this.log.info('share unmounted', { path, source: top.source });
    }
    await ifThere(rmdir(path));
  }
}
