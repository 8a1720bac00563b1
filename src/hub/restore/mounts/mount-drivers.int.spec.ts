import { release } from 'node:os';
import { describe } from '@jest/globals';
import { mountDriverContract, type MountDriverCase } from '../../../../test/contracts/mount-driver.contract.js';
import { ShellProcessSupervisor } from '../../../lib/process/shell-process-supervisor.js';
import { FuseMountDriver } from './fuse-mount.driver.js';
import { GuestfsMountDriver } from './guestfs-mount.driver.js';
import { NbdMountDriver } from './nbd-mount.driver.js';
import { IS_LONG } from '../../../../test/support/long-proof.js';

const KERNEL_FILESYSTEMS: MountDriverCase['filesystems'] = [
  ['ext4', 'none'],
  ['ext4', 'dos'],
  ['ext4', 'gpt'],
  ['xfs', 'gpt'],
  ['btrfs', 'gpt'],
  ['ntfs', 'dos'],
];

/** Linux 6.7 and later mount two btrfs with the same UUID. */
const TWINS: MountDriverCase['twins'] = atLeastLinux(6, 7) ? ['ext4', 'xfs', 'btrfs'] : ['ext4', 'xfs'];

const CASES: readonly MountDriverCase[] = [
  {
    make: (supervisor) => new FuseMountDriver(supervisor),
    filesystems: KERNEL_FILESYSTEMS,
    inUse: ['ext4', 'xfs', 'btrfs'],
    twins: TWINS,
    refusals: true,
    patienceMs: 30_000,
  },
  {
    make: (supervisor) => new NbdMountDriver(supervisor),
    filesystems: KERNEL_FILESYSTEMS,
    inUse: ['ext4', 'xfs', 'btrfs'],
    twins: TWINS,
    refusals: true,
    patienceMs: 30_000,
  },
  {
    make: (supervisor) => new GuestfsMountDriver(supervisor, { forceEmulation: () => true }),
    // Each mount and each refusal starts an emulated sandbox: about 20 seconds of CPU time.
    filesystems: [['ext4', 'gpt']],
    inUse: [],
    twins: [],
    refusals: IS_LONG,
    patienceMs: 240_000,
  },
];

for (const each of CASES) {
  const driver = each.make(new ShellProcessSupervisor());
  const availability = await driver.availability();
  // Not every machine has every driver: no package provides the kernel's nbd module.
  if (!availability.available) process.stderr.write(`skipped: mount driver ${driver.name}: ${availability.reason}\n`);
  (availability.available ? describe : describe.skip)(`mount driver ${driver.name}`, () => mountDriverContract(each));
}

function atLeastLinux(wantedMajor: number, wantedMinor: number): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
