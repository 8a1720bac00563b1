import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { loopDevicesOn, mountsBelow } from '../../src/lib/files/mount-table.js';

const run = promisify(execFile);

/** Mounts and loop devices at or below a folder. */
export async function guestMountsBelow(folder: string): Promise<readonly string[]> {
  const mounts = (await mountsBelow(folder)).map(({ mountPoint }) => mountPoint);
  return [...mounts, ...(await loopDevicesOn(folder))];
}

/** Takes away what tests that failed have left mounted; the processes behind it must have ended. */
export async function removeGuestMounts(folder: string): Promise<void> {
  for (const device of await loopDevicesOn(folder)) await run('losetup', ['--detach', device]).catch(() => undefined);
  for (const { mountPoint } of await mountsBelow(folder)) await run('umount', ['--lazy', mountPoint]).catch(() => undefined);
}
