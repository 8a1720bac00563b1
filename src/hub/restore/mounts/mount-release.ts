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
  /** True when something had to be taken away from under its users. */
  readonly forced: boolean;
  /** What could not be removed, in words; empty when nothing is left. */
  readonly leftovers: readonly string[];
}

const UMOUNT_DEADLINE_MS = 5_000;
/** How long readers get to let go of a mount. */
const BUSY_PATIENCE_MS = 2_000;
const BUSY_PAUSE_MS = 50;
const STOP_GRACE_MS = 3_000;
const LOOP_DEADLINE_MS = 5_000;
/** How long the sandbox gets to shut its machine down. */
const SANDBOX_ENDS_MS = 15_000;
/** A kernel that is done with a device says so a moment later. */
const SETTLE_MS = 3_000;

/**
 * Takes down whatever there is of a mount, in whichever state its driver left it: it goes by what lies in or is backed by the mount's own folder, so it needs no
 * memory of what was made, works after any crash, and touches nothing else. May be repeated.
 */
export class MountRelease {
  constructor(private readonly supervisor: ProcessSupervisor) {}

  /** Whether a mount that was ready still is: its file system is mounted and all of its processes run. */
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
      // A file system whose disk has stopped answering lets go once its disk is gone.
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

    // The machine of the sandbox is a child of guestfish, which ends it once the mount is gone; killed instead, it would leave that to others for some seconds.
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

    // One by one and never recursively through what could be a mount.
    await gone(() => unlink(disk));
    await gone(() => unlink(nbdDevice));
    await gone(() => rmdir(root));
    await rm(tools, { recursive: true, force: true });
    await gone(() => rmdir(directory));
    return { forced, leftovers };
  }

  /** Waits a moment for readers that are just going. */
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

  /** Waits a while for a process that has nothing left to do. */
  private async endOfItself(runDirectory: string): Promise<void> {
    if ((await this.supervisor.status(runDirectory)).state !== 'running') return;
    await this.supervisor.waitForExit(runDirectory, AbortSignal.timeout(SANDBOX_ENDS_MS)).catch(() => undefined);
  }

  /** @returns what could not be stopped */
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

/** umount(8) refuses to work for others than root, and FUSE's own program is there for them. */
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
