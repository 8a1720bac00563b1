import { readFile, rm, rmdir, unlink } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../kernel/error-message.js';
import { ProcessSupervisor } from '../../../lib/process/process-supervisor.port.js';
import { errnoOf } from '../../../lib/process/system-error.js';
import { runBounded } from './bounded-tool.js';
import { MOUNT_TOOLS, mountLayout, toolDirectory } from './mount-layout.js';
import { loopDevicesOn, mountsBelow } from '../../../lib/files/mount-table.js';
import { nbdOwner } from './nbd-mount.driver.js';

export interface Released {
  /** True when a resource had to be removed while in use. */
  readonly forced: boolean;
  /** Descriptions of resources that could not be removed; empty when nothing is left. */
  readonly leftovers: readonly string[];
}

const UMOUNT_DEADLINE_MS = 5_000;
/** Time readers have to release a mount. */
const BUSY_PATIENCE_MS = 2_000;
const BUSY_PAUSE_MS = 50;
const STOP_GRACE_MS = 3_000;
const LOOP_DEADLINE_MS = 5_000;
/** Time the sandbox has to shut its machine down. */
const SANDBOX_ENDS_MS = 15_000;
/** The kernel reports a released device with a short delay. */
const SETTLE_MS = 3_000;

/**
 * Removes everything that remains of a mount, in whatever state its driver left it. It looks only at resources in or backed by the mount's own directory. It
 * therefore needs no record of what was created, works after any crash, and touches nothing else. Idempotent.
 */
export class MountRelease {
  constructor(private readonly supervisor: ProcessSupervisor) {}

  /** Whether a mount that was ready still is: its file system is mounted and none of its processes has exited. */
  async stands(directory: string): Promise<boolean> {
    const { root } = mountLayout(directory);
    if (!(await mountsBelow(directory)).some(({ mountPoint }) => mountPoint === root)) return false;
    for (const tool of MOUNT_TOOLS) if ((await this.supervisor.status(toolDirectory(directory, tool))).state === 'exited') return false;
    return true;
  }

  async release(directory: string): Promise<Released> {
    const { root, disk, tools, nbdDevice } = mountLayout(directory);
    const leftovers: string[] = [];
    let forced = false;

    while ((await mountsBelow(root)).length > 0) {
      const gently = await this.unmount(root);
      if (gently) continue;
      forced = true;
      // A file system whose disk no longer answers can be unmounted once the disk is gone.
      await this.stopTools(directory);
      if (!(await ran(unmountArgv(root, 'lazy')))) {
        leftovers.push(`${root} is still mounted`);
        break;
      }
    }

    const nbd = await readFile(nbdDevice, 'utf8').catch(() => null);
    const backed = nbd === null ? [disk] : [disk, `/dev/${nbd}`];
    for (const device of await loops(backed)) await ran(['losetup', '--detach', device]);
    const loopsLeft = await settled(async () => (await loops(backed)).length === 0);
    if (!loopsLeft) forced = true;

    // guestfish ends its child, the sandbox's machine, once the mount is gone. If guestfish were killed, the machine would outlive it for some seconds.
    if (!forced) await this.endOfItself(toolDirectory(directory, 'guestfish'));
    if (nbd !== null && (await this.holdsNbd(directory, nbd))) await ran(['qemu-nbd', '--disconnect', `/dev/${nbd}`]);
    leftovers.push(...(await this.stopTools(directory)));
    while ((await mountsBelow(disk)).length > 0) {
      if (!(await ran(unmountArgv(disk, 'lazy')))) {
        leftovers.push(`${disk} is still mounted`);
        break;
      }
    }
    if (!(await settled(async () => (await loops(backed)).length === 0)))
      leftovers.push(...(await loops(backed)).map((device) => `${device} is still attached`));
    if (leftovers.length > 0) return { forced, leftovers };

    // One by one: never delete recursively through a possible mount.
    await gone(() => unlink(disk));
    await gone(() => unlink(nbdDevice));
    await gone(() => rmdir(root));
    await rm(tools, { recursive: true, force: true });
    await gone(() => rmdir(directory));
    return { forced, leftovers };
  }

  /** Waits briefly for readers to finish. */
  private async unmount(root: string): Promise<boolean> {
    const ends = performance.now() + BUSY_PATIENCE_MS;
    for (;;) {
      const begun = performance.now();
      if (await ran(unmountArgv(root, 'now'))) return true;
      if ((await mountsBelow(root)).length === 0) return true;
      if (performance.now() > ends || performance.now() - begun > UMOUNT_DEADLINE_MS) return false;
      await pause(BUSY_PAUSE_MS);
    }
  }

  /** Waits for a process that is about to exit on its own. */
  private async endOfItself(runDirectory: string): Promise<void> {
    if ((await this.supervisor.status(runDirectory)).state !== 'running') return;
    await this.supervisor.waitForExit(runDirectory, AbortSignal.timeout(SANDBOX_ENDS_MS)).catch(() => undefined);
  }

  /** @returns messages about processes that could not be stopped */
  private async stopTools(directory: string): Promise<readonly string[]> {
    const left: string[] = [];
    for (const tool of MOUNT_TOOLS) {
      const runDirectory = toolDirectory(directory, tool);
      try {
        if ((await this.supervisor.status(runDirectory)).state === 'absent') continue;
        await this.supervisor.stop(runDirectory, STOP_GRACE_MS);
      } catch (error) {
        left.push(messageOf(error));
      }
    }
    return left;
  }

  private async holdsNbd(directory: string, device: string): Promise<boolean> {
    const status = await this.supervisor.status(toolDirectory(directory, 'qemu-nbd'));
    const owner = await nbdOwner(device);
    return status.state === 'running' && status.identity !== null && status.identity.pid === owner;
  }
}

/** umount(8) works only for root; other users need fusermount3. */
function unmountArgv(mountPoint: string, when: 'now' | 'lazy'): readonly [string, ...string[]] {
  if (process.getuid?.() === 0) return ['umount', ...(when === 'lazy' ? ['--lazy'] : []), mountPoint];
  return ['fusermount3', '-u', ...(when === 'lazy' ? ['-z'] : []), mountPoint];
}

async function loops(backed: readonly string[]): Promise<readonly string[]> {
  return (await Promise.all(backed.map(loopDevicesOn))).flat();
}

async function ran(argv: readonly [string, ...string[]]): Promise<boolean> {
  return runBounded(argv, argv[0] === 'losetup' ? LOOP_DEADLINE_MS : UMOUNT_DEADLINE_MS).then(
    () => true,
    () => false,
  );
}

async function settled(done: () => Promise<boolean>): Promise<boolean> {
  const ends = performance.now() + SETTLE_MS;
  while (!(await done())) {
    if (performance.now() > ends) return false;
    await pause(BUSY_PAUSE_MS);
  }
  return true;
}

async function gone(remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
