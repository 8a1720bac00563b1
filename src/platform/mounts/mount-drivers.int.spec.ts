import { describe } from '@jest/globals';
import { mountDriverContract, type MountDriverCase } from '../../../test/contracts/mount-driver.contract.js';
import { ShellProcessSupervisor } from '../process/shell-process-supervisor.js';
import { FuseMountDriver } from './fuse-mount.driver.js';
import { GuestfsMountDriver } from './guestfs-mount.driver.js';
import { NbdMountDriver } from './nbd-mount.driver.js';

const KERNEL_FILESYSTEMS: MountDriverCase['filesystems'] = [
  ['ext4', 'none'],
  ['ext4', 'dos'],
  ['ext4', 'gpt'],
  ['xfs', 'gpt'],
  ['btrfs', 'gpt'],
  ['ntfs', 'dos'],
];

const CASES: readonly MountDriverCase[] = [
  { make: (supervisor) => new FuseMountDriver(supervisor), filesystems: KERNEL_FILESYSTEMS, patienceMs: 30_000 },
  { make: (supervisor) => new NbdMountDriver(supervisor), filesystems: KERNEL_FILESYSTEMS, patienceMs: 30_000 },
  {
    make: (supervisor) => new GuestfsMountDriver(supervisor, { forceEmulation: true }),
    // Each takes the sandbox two starts, which are emulated.
    filesystems: [['ext4', 'gpt']],
    patienceMs: 240_000,
  },
];

for (const each of CASES) {
  const driver = each.make(new ShellProcessSupervisor());
  const availability = await driver.availability();
  // Not every machine has every driver: the kernel's nbd module cannot be brought by a package.
  if (!availability.available) process.stderr.write(`skipped: mount driver ${driver.name}: ${availability.reason}\n`);
  (availability.available ? describe : describe.skip)(`mount driver ${driver.name}`, () => mountDriverContract(each));
}
